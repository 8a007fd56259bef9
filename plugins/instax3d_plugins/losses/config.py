"""Options of the losses `photometric`, `alpha`, `opacity` and `normals`."""

from pydantic import Field, NonNegativeFloat, PositiveFloat

from instax3d.plugin import LossConfig


class PhotometricConfig(LossConfig):
    """3DGS's loss."""

    ssim_weight: float = Field(0.2, ge=0, le=1)
    """Share of 1 - SSIM, the rest is L1 (3DGS: 0.2)."""


class AlphaConfig(LossConfig):
    """The silhouette, by its mean absolute error."""

    weight: NonNegativeFloat = 0.1
    """Factor of the loss in the sum that is minimized."""


class OpacityConfig(LossConfig):
    """What is missing from full opacity inside the silhouette, whatever the confidence of the colors there."""

    weight: NonNegativeFloat = 0.1
    """Factor of the loss in the sum that is minimized."""
    from_deg: float = Field(45.0, ge=0, le=180)
    """Angle, degrees, between the directions in which the photo's camera and a view's look, from which on the view
    counts; 0 counts all. In a capture all views count."""


class NormalsConfig(LossConfig):
    """Agreement of the Gaussians with the triangles that they belong to."""

    weight: NonNegativeFloat = 0.01
    """Factor of the loss in the sum that is minimized."""
    reach: PositiveFloat = 0.005
    """Distance from its triangle, meters, up to which a Gaussian counts: hair and clothes have other normals."""
