"""The metric. Frozen: see tests/core/test_frozen.py."""

from collections.abc import Mapping

from instax3d.interfaces import MeshPrior, Metric
from instax3d.registry import build
from instax3d.types import EvaluationContext

from .config import FrozenLikenessConfig


class FrozenLikeness(Metric[FrozenLikenessConfig]):
    """The head's height relative to that of a head model's mean."""

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        """Both numbers."""
        model = build(MeshPrior, self.config.head).head_model()
        mean = model(model.neutral())
        heights = [float(v[:, 1].max() - v[:, 1].min()) for v in (context.mesh.vertices, mean)]
        return {
            "frozen_height": heights[0] / heights[1] / context.mesh.units_per_meter,
            "frozen_brightness": float(context.rendered.mean()),
        }
