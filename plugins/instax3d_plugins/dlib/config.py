"""Options of the `dlib` landmark detector."""

from pydantic import Field

from instax3d.plugin import PluginConfig


class DlibConfig(PluginConfig):
    """Defaults find frontal to three-quarter faces down to about 1/24 of the image's longest side."""

    threshold: float = 0.0
    """Least score of a face; dlib's own is 0. Clear frontal faces score 1 to 3, strongly turned ones under 0.5."""
    upsample: int = Field(1, ge=0, le=3)
    """How often the image is doubled before the search: each finds faces half as large at four times the cost."""
