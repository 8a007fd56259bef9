"""How much memory can still be allocated, on Linux, macOS and Windows."""

from pathlib import Path

import psutil
import torch

from instax3d.io.control_groups import group_folders

_FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
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
    return min([int(psutil.virtual_memory().available), *_free_in_groups()])


def _free_in_groups() -> list[int]:
    """Bytes left by each control group that limits this process; empty where there are none.

    The page cache that a group can drop counts as free, as in ``docker stats``.
    """
    return [free for folder, version in group_folders("memory") if (free := _left(folder, version)) is not None]


def _left(folder: Path, version: int) -> int | None:
    limit_file, usage_file, cache_key = _FILES[version]
    try:
        limit = int((folder / limit_file).read_text(encoding="utf-8"))
        usage = int((folder / usage_file).read_text(encoding="utf-8"))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        return max(0, limit - usage + int(statistics.get(cache_key, 0)))
    except (OSError, ValueError):  # no limit here ("max"), or the group is hidden from this container
        return None
