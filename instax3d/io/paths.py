"""Folders of the user that the program writes to by itself."""

import os
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "INSTAX3D_CACHE"
ASSETS_VARIABLE = "INSTAX3D_ASSETS"


def cache_dir() -> Path:
    """INSTAX3D_CACHE, else ``instax3d`` in the user's cache folder."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return user_cache_path("instax3d", appauthor=False)


def assets_dir() -> Path:
    """INSTAX3D_ASSETS, else ``assets`` in the cache folder."""
    if os.environ.get(ASSETS_VARIABLE):
        return Path(os.environ[ASSETS_VARIABLE])
    return cache_dir() / "assets"
