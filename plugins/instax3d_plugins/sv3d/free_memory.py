"""How much memory can still be allocated, on Linux, macOS and Windows."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil
import torch

_MEMBERSHIP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_FILES = {
    "v2": ("memory.max", "memory.current", "inactive_file"),
    "v1": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Of each version of cgroups: the files of limit and usage, and the page cache's key in ``memory.stat``."""


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on the device.

    For the CPU the memory that the system calls available, and no more than what the process's control groups leave it
    (containers, batch queues).
    """
    if device.type == "cuda":
        # the allocator's own cache is available as well
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return min([int(psutil.virtual_memory().available), *cgroup_free(_MEMBERSHIP, _CGROUPS)])


def cgroup_free(membership: Path, root: Path) -> list[int]:
    """Bytes left by each control group that limits this process; empty where there are none.

    The page cache that a group can drop counts as free, as in ``docker stats``.

    Args:
        membership: ``/proc/self/cgroup``.
        root: ``/sys/fs/cgroup``.
    """
    return [free for folder, version in _groups(membership, root) if (free := _left(folder, version)) is not None]


def _groups(membership: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """Folders of the memory groups that hold the process, and of all groups above them."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, group = line.split(":", 2)
        if number == "0":
            base, version = root, "v2"
        elif "memory" in controllers.split(","):
            base, version = root / "memory", "v1"
        else:
            continue
        relative = PurePosixPath(group.lstrip("/"))
        for part in (relative, *relative.parents):
            yield base / part, version


def _left(folder: Path, version: str) -> int | None:
    limit_file, usage_file, cache_key = _FILES[version]
    try:
        limit = int((folder / limit_file).read_text(encoding="utf-8"))
        usage = int((folder / usage_file).read_text(encoding="utf-8"))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        return max(0, limit - usage + int(statistics.get(cache_key, 0)))
    except (OSError, ValueError):  # no limit here ("max"), or the group is hidden from this container
        return None
