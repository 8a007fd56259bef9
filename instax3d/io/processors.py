"""How many processors this process may use."""

import math
import os
from pathlib import Path

from .control_groups import group_folders


def available_processors() -> int:
    """Processors that the affinity of this process and the CPU quota of its Linux control groups allow; at least 1.

    A container limits its processes by such a quota, which ``os.cpu_count`` does not know.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = (_quota(folder, version) for folder, version in group_folders("cpu"))
    return max(1, min([affinity, *(math.ceil(quota) for quota in quotas if math.isfinite(quota))]))


def _quota(folder: Path, version: int) -> float:
    """Processors that a control group allows; infinite where it sets no limit (v1 writes -1, v2 ``max``)."""
    files = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    numbers = [number for name in files for number in _numbers(folder / name)]
    if len(numbers) != 2 or numbers[0] <= 0 or numbers[1] <= 0:
        return math.inf
    return numbers[0] / numbers[1]


def _numbers(path: Path) -> list[float]:
    """In a file of the kernel; ``max`` is infinite. Empty where there is no such file."""
    try:
        return [math.inf if word == "max" else float(word) for word in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError):
        return []
