"""Options of the gsplat renderer; imports no torch."""

from instax3d.plugin import PluginConfig


class GsplatConfig(PluginConfig):
    """Options of `GsplatRenderer`."""

    antialiased: bool = False
    """Dim Gaussians smaller than a pixel by what the screen-space blur adds to them (Mip-Splatting)."""
