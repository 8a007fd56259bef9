"""Whether a portrait looks the same from all sides, by networks that tell what an image shows (the paper's MVC)."""

from collections.abc import Mapping
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from instax3d.assets import require
from instax3d.interfaces import Metric
from instax3d.types import EvaluationContext

from .config import MvcConfig
from .networks import ClipEncoder, DinoEncoder, Encoder


class Mvc(Metric[MvcConfig]):
    """Multi-view consistency: mean of the similarities by CLIP ViT-L/14 and by DINO ViT-S/16.

    The paper (Sec. 4): "the average of CLIP and DINO scores through appearance similarity across the different views",
    with clip-vit-large-patch14 and the DeiT-S based DINO. It does not say which views are compared. Here they are the
    21 frames of a turn on white, each with each other one, 210 pairs; the figure does not depend on their order.
    `mvc_adjacent` takes only frames that follow one another (the last and the first as well), which tells jumps, and
    `mvc_photo` compares each frame with the view that is the photo, cut out on white.

    A similarity is the cosine of two embeddings: CLIP's after its projection (768 numbers), DINO's class token (384).
    Frames are brought to 224 pixels by Pillow's bicubic filter, without the crop of 256 of DINO's own evaluation, so
    that both networks see the whole head. The networks' files come from openai/clip-vit-large-patch14 and
    facebook/dino-vits16 on Hugging Face's hub, at the revisions in the assets.
    """

    @cached_property
    def _encoders(self) -> tuple[Encoder, Encoder]:
        clip = require("clip-vit-large-patch14", self.config.clip)
        dino = require("dino-vits16", self.config.dino)  # both are looked for before either is read
        return ClipEncoder(clip), DinoEncoder(dino)

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        clip, dino = self._encoders
        seen = [encoder.directions(context.turntable) for encoder in (clip, dino)]
        among = [_among(each) for each in seen]
        figures = {
            "mvc": sum(among) / 2,
            "mvc_clip": among[0],
            "mvc_dino": among[1],
            "mvc_adjacent": sum(float((each * each.roll(1, 0)).sum(1).mean()) for each in seen) / 2,
        }
        photo = context.views.photo_index
        if photo is not None:
            image = context.views.images[[photo]]
            to_photo = [each @ encoder.directions(image)[0] for each, encoder in zip(seen, (clip, dino))]
            figures["mvc_photo"] = sum(float(each.mean()) for each in to_photo) / 2
        return figures


def _among(directions: Float[Tensor, "n features"]) -> float:
    """Mean cosine over all pairs."""
    count = len(directions)
    cosines = directions @ directions.T
    return float((cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1)))
