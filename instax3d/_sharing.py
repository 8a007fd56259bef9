"""Instances that a process makes once, each with the state of the files that it was made from."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from contextvars import ContextVar
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

T = TypeVar("T")
State = tuple[tuple[str, int, int], ...]
"""Name, size and time in nanoseconds of a file, or of each file in a folder; empty where there is none."""

MOST = 4
"""Instances that are kept; the one that was not used for the longest time goes first."""

_kept: OrderedDict[Hashable, tuple[Any, dict[Path, State]]] = OrderedDict()
_lock = RLock()
_reading: ContextVar[dict[Path, State] | None] = ContextVar("files of the instance that is being made", default=None)


def is_read(paths: Iterable[Path]) -> None:
    """Take note of files that the instance which is being made, if any, is about to read."""
    files = _reading.get()
    if files is not None:
        files.update({path: _state(path) for path in paths})


def shared(key: Hashable, make: Callable[[], T]) -> T:
    """What was made for this key, or ``make()`` where there is nothing yet or its files have changed since."""
    with _lock:
        found = _kept.get(key)
        if found is None or any(_state(path) != state for path, state in found[1].items()):
            files: dict[Path, State] = {}
            token = _reading.set(files)
            try:
                found = make(), files
            finally:
                _reading.reset(token)
        _kept[key] = found
        _kept.move_to_end(key)
        while len(_kept) > MOST:
            _kept.popitem(last=False)
    outer = _reading.get()
    if outer is not None:  # an instance that is being made from this one
        outer.update(found[1])
    value: T = found[0]
    return value


def _state(path: Path) -> State:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
