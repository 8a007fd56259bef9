"""What it takes to keep and to show a portrait."""

import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from instax3d.interfaces import Metric
from instax3d.io.ply import write_ply
from instax3d.plugin import PluginConfig
from instax3d.types import EvaluationContext

_ROUNDS = 3


class Cost(Metric[PluginConfig]):
    """Frames a second (the fastest of three rounds, since other programs can only slow it down), size and memory."""

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        cameras = context.turntable_cameras
        context.render(cameras[0])
        rounds = []
        for _ in range(_ROUNDS):
            since = time.perf_counter()
            for index in range(len(cameras)):
                context.render(cameras[index])
            rounds.append(time.perf_counter() - since)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "portrait.ply"
            write_ply(path, context.gaussians)
            size = path.stat().st_size
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
        return {
            "fps": len(cameras) / min(rounds),
            "megabytes": size / 1e6,
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6,
        }
