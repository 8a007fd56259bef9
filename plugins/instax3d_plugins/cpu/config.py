"""Options of the cpu renderer; imports no torch."""

from instax3d.plugin import PluginConfig


class CpuConfig(PluginConfig):
    """Options of `CpuRenderer`."""

    antialiased: bool = False
    """Dim Gaussians smaller than a pixel by what the screen-space blur adds to them (Mip-Splatting)."""
