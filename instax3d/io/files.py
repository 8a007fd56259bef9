"""Files and folders that appear under their names only when they are whole, and names that stay in their folder."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; move it to ``path`` on success, remove it on failure.

    The temporary name is hidden, and keeps the suffix, since some writers choose the format by it.

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
    """Give an empty folder to write to; on success it replaces ``folder``, on failure it is removed and ``folder``
    stays as it was.

    Raises:
        OSError: the folders cannot be made or moved.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
        new = Path(work) / "new"
        new.mkdir()
        yield new
        if not folder.exists():
            new.rename(folder)
            return
        # Beside the temporary folder, not in it: whatever happens here, nothing deletes the earlier result.
        previous = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}-previous")
        folder.rename(previous)
        try:
            new.rename(folder)
        except BaseException:
            previous.rename(folder)
            raise
        _remove(previous)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def stays_inside(name: str) -> bool:
    """Whether a relative path from a file, an archive or a server names something below the folder it is joined to, on
    POSIX and on Windows: neither absolute nor with ``..``, and not the folder itself."""
    windows = PureWindowsPath(name)
    parts = {*PurePosixPath(name).parts, *windows.parts}
    return bool(parts) and not (name.startswith("/") or windows.anchor or ".." in parts or "\0" in name)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in one step.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
