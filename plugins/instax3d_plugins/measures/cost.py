"""What it takes to store and to render a portrait."""

import logging
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

_log = logging.getLogger(__name__)


class Cost(Metric[PluginConfig]):
    """Frames a second (the fastest of three rounds, since other programs can only slow it down), size and memory.

    Where the system does not report the largest memory of a process (Windows), ``peak_memory`` is left out and a
    warning says so.
    """

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
        figures = {"fps": len(cameras) / min(rounds), "megabytes": size / 1e6}
        peak = peak_memory()
        if peak is None:
            _log.warning("peak_memory is left out: this system does not report the largest memory of a process")
            return figures
        return {**figures, "peak_memory": peak / 1e6}


def peak_memory() -> float | None:
    """Largest resident memory of this process so far in bytes; None where the system does not report it."""
    try:
        import resource  # absent on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
