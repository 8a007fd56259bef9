"""Writing files and folders so that a half-written one is never found under its name."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; move it to ``path`` on success, remove it on failure.

    The temporary name keeps the suffix, since some writers choose the format by it.

    Raises:
        OSError: the folder is absent or cannot be written.
    """
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write to; on success it takes the place of ``folder``, whatever was there, on failure it
    is removed.

    Raises:
        OSError: the folders cannot be made or moved.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
        made = Path(work) / "new"
        made.mkdir()
        yield made
        if folder.exists():
            folder.rename(Path(work) / "old")
        made.rename(folder)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in one step.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
