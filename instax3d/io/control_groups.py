"""The Linux control groups (cgroups) that limit this process: containers and batch queues are made of them."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MEMBERSHIP = Path("/proc/self/cgroup")
"""Lines ``id:controllers:path`` of the groups that this process is in; absent on other systems."""
ROOT = Path("/sys/fs/cgroup")


def group_folders(controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the groups of one controller (``cpu``, ``memory``) that hold this process and of all groups above
    them, each with the version of control groups, 1 or 2, that says which files are in it.

    In a container only the topmost may be there.
    """
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for fields in (line.split(":", 2) for line in lines):
        if len(fields) != 3:
            continue
        number, controllers, group = fields
        if number == "0":
            base, version = ROOT, 2
        elif controller in controllers.split(","):
            base, version = ROOT / controller, 1
        else:
            continue
        relative = PurePosixPath(group.strip("/"))
        for part in (relative, *relative.parents):
            yield base / part, version
