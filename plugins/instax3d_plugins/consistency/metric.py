"""Multi-view consistency of a portrait by image embeddings (the paper's MVC)."""

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
    with clip-vit-large-patch14 and the DeiT-S based DINO. It does not say which views are compared. Here they are
    all 210 pairs of the 21 turntable frames on white; the value does not depend on their order. `mvc_adjacent` takes
    consecutive frames only (the last and the first as well), which shows jumps, and `mvc_photo` compares each frame
    with the view that is the photo, cut out on white.

    A similarity is the cosine of two embeddings: CLIP's after its projection (768 numbers), DINO's class token (384).
    Frames are resized to 224 pixels by Pillow's bicubic filter, without the crop of 256 of DINO's own evaluation, so
    that both networks see the whole head. The networks' files are those of openai/clip-vit-large-patch14 and
    facebook/dino-vits16 on Hugging Face's hub, at the revisions in the assets.
    """

    @cached_property
    def _encoders(self) -> tuple[Encoder, Encoder]:
        clip = require("clip-vit-large-patch14", self.config.clip)
        dino = require("dino-vits16", self.config.dino)  # both are located before either is read
        return ClipEncoder(clip), DinoEncoder(dino)

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        clip, dino = self._encoders
        embeddings = [encoder.directions(context.turntable) for encoder in (clip, dino)]
        pairwise = [_mean_pairwise_cosine(each) for each in embeddings]
        values = {
            "mvc": sum(pairwise) / 2,
            "mvc_clip": pairwise[0],
            "mvc_dino": pairwise[1],
            "mvc_adjacent": sum(float((each * each.roll(1, 0)).sum(1).mean()) for each in embeddings) / 2,
        }
        photo = context.views.photo_index
        if photo is not None:
            image = context.views.images[[photo]]
            to_photo = [each @ encoder.directions(image)[0] for each, encoder in zip(embeddings, (clip, dino))]
            values["mvc_photo"] = sum(float(each.mean()) for each in to_photo) / 2
        return values


def _mean_pairwise_cosine(directions: Float[Tensor, "n features"]) -> float:
    """Mean cosine over all pairs."""
    count = len(directions)
    cosines = directions @ directions.T
    return float((cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1)))
