"""Finds the store that an output path or URL means."""

from pathlib import Path

from instax3d.io.remote import is_url

from .object_store import ObjectStore
from .store import FolderStore, Store


def open_store(uri: str | Path) -> Store:
    """The results at a path, or at a URL that fsspec knows, such as ``s3://bucket/study``.

    Raises:
        ConfigError: the URL's protocol is unknown, or its package is not installed.
    """
    if not is_url(str(uri)):
        return FolderStore(Path(uri))
    return ObjectStore(str(uri))
