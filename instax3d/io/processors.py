"""How many processors this process may use."""

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
"""Lines ``id:controllers:path`` of the control groups that this process is in."""


def available_processors() -> int:
    """Processors that the affinity of this process and the CPU quota of its Linux control groups allow; at least 1.

    A container limits its processes by such a quota, which ``os.cpu_count`` does not know.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *(math.ceil(quota) for quota in _quotas())]))


def _quotas() -> list[float]:
    """Processors that each control group above this process allows (cgroup v2 ``cpu.max``, v1 ``cpu.cfs_*_us``)."""
    try:
        memberships = [line.split(":", 2) for line in _MEMBERSHIP.read_text(encoding="utf-8").splitlines()]
    except OSError:  # not Linux
        return []
    quotas: list[float] = []
    for number, controllers, group in (fields for fields in memberships if len(fields) == 3):
        if number == "0":
            quotas += [_quota_v2(folder) for folder in _with_parents(_CGROUPS, group)]
        elif "cpu" in controllers.split(","):
            quotas += [_quota_v1(folder) for folder in _with_parents(_CGROUPS / "cpu", group)]
    return [quota for quota in quotas if math.isfinite(quota)]


def _with_parents(root: Path, group: str) -> list[Path]:
    """The folder of a control group and of those above it; in a container only the topmost may be there."""
    folder = root / group.strip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]


def _quota_v2(folder: Path) -> float:
    return _ratio(*_numbers(folder / "cpu.max"))


def _quota_v1(folder: Path) -> float:
    return _ratio(*_numbers(folder / "cpu.cfs_quota_us"), *_numbers(folder / "cpu.cfs_period_us"))


def _numbers(path: Path) -> list[float]:
    """In a file of the kernel; ``max`` is infinite. Empty where there is no such file."""
    try:
        return [math.inf if word == "max" else float(word) for word in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError):
        return []


def _ratio(*numbers: float) -> float:
    """Quota over period; infinite where there is none (v1 writes -1)."""
    if len(numbers) != 2 or numbers[0] <= 0 or numbers[1] <= 0:
        return math.inf
    return numbers[0] / numbers[1]
