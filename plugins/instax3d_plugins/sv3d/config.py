"""Options of the `sv3d` view generator."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from instax3d.plugin import AssetRef, Kind, NamedPlugin, PluginConfig, PluginRef

CameraModulation = Literal["aware", "invariant"]


class Sv3dConfig(PluginConfig):
    """Views by Stable Video 3D, from weights that the user provides."""

    renamed: ClassVar[Mapping[str, str]] = {"trust": "confidence"}

    weights: Annotated[str, AssetRef("sv3d", "sv3d-u")] = "sv3d"
    """``sv3d`` (variant p) or ``sv3d-u``, as downloaded by `instax3d assets get`, or a path: an official file
    (sv3d_u.safetensors, sv3d_p.safetensors) or a folder that `instax3d sv3d convert` or fine-tuning wrote."""
    camera: CameraModulation = "invariant"
    """``aware`` conditions SV3D_p on the camera of each frame; ``invariant`` sets that embedding to zero, which the
    paper found more robust. SV3D_u has no camera condition."""
    steps: int = Field(50, ge=1, le=1000)
    """Denoising steps, two runs of the network each; 25 take half the time."""
    guidance: float = Field(2.5, ge=1.0, le=20.0)
    """Guidance scale at the back of the head; it falls to 1 at the photo."""
    size: int = Field(576, ge=64, le=1024, multiple_of=64)
    """Width and height of the frames, pixels; SV3D was trained with 576."""
    elevation: float = Field(0.0, ge=-89.0, le=89.0)
    """Degrees by which the photo was taken from above; all frames share it."""
    azimuth_sign: Literal[1, -1] = 1
    """Direction of rising azimuths: 1 to the subject's left, as in SV3D's own figures."""
    head: Annotated[NamedPlugin, PluginRef(Kind.HEAD_MODEL)] = "mannequin"
    """Head model that is fitted to the photo to cut the person out."""
    frame_ratio: float = Field(0.917, gt=0.2, le=1.0)
    """Share of the frame that the head and shoulders fill."""
    confidence: float = Field(0.7, ge=0.0, le=1.0)
    """Confidence of generated pixels; the photo's have 1."""
    decoder: Literal["vae", "first_stage"] = "vae"
    """``vae`` decodes with the autoencoder that encodes; ``first_stage`` with the official file's second decoder, as
    the original program does."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks run; ``auto`` is CUDA where torch finds it."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the networks; ``auto`` is float16 on CUDA and float32 on the CPU. Sampling itself is in float32."""
    memory: Literal["auto", "fast", "parts", "lean", "streamed"] = "auto"
    """The memory plan; ``auto`` takes the fastest that fits into the free memory. The README describes them."""
    decode_chunk: int = Field(7, ge=1, le=64)
    """Frames decoded at a time; changes memory, not the result."""
    compile: bool = False
    """Compile the UNet with torch.compile: slow at first, then faster; for CUDA."""

    def ignored_options(self) -> Mapping[str, str]:
        return {"camera": "sv3d-u is never told a camera; choose weights=sv3d"} if self.weights == "sv3d-u" else {}
