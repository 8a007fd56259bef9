"""Whether a portrait is of the person in the photo, as the run's landmark detector compares identities."""

from collections.abc import Mapping

from torch import Tensor

from instax3d.interfaces import Metric
from instax3d.io.images import to_uint8
from instax3d.types import EvaluationContext

from .config import LikenessConfig


class Likeness(Metric[LikenessConfig]):
    """Distances of the detector's descriptors of the photo's and the renders' faces."""

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        photo, detector = context.photo, context.detector
        if photo is None:
            return {}
        try:
            reference = detector.descriptor(to_uint8(photo.image), photo.face)
        except NotImplementedError:  # a detector without identity descriptors
            return {}

        def distance(image: Tensor) -> float | None:
            pixels = to_uint8(image)
            faces = detector.detect(pixels)
            return float((reference - detector.descriptor(pixels, faces[0])).norm()) if faces else None

        figures = {"identity_front": distance(context.render(context.turntable_cameras[0])[0])}
        if context.views.photo_index is not None:
            figures["identity_photo"] = distance(context.rendered[context.views.photo_index])
        if self.config.turn:
            distances = [value for value in map(distance, context.turntable) if value is not None]
            figures["faces_in_turn"] = len(distances) / len(context.turntable)
            figures["identity_turn"] = sum(distances) / len(distances) if distances else None
        return {name: value for name, value in figures.items() if value is not None}
