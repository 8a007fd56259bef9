"""Synthetic weights that reference fixtures describe by name, regenerated from their seed (``*.weights.json``)."""

import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def regenerate(recipe: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    """The tensors of a recipe by name, those that ``wanted`` accepts.

    Each is drawn from PCG64 seeded by the CRC of its name and the file's seed, so any subset gives the same numbers.
    All of them together are compared with the file's checksum.
    """
    described: dict[str, Any] = json.loads(recipe.read_text())
    seed, tensors = described["seed"], described["tensors"]
    made = {name: _draw(name, seed, *how) for name, how in tensors.items() if wanted(name)}
    if len(made) == len(tensors):
        digest = hashlib.sha256()
        for name in sorted(made):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(made[name]).tobytes())
        assert digest.hexdigest() == described["sha256"], f"{recipe.name} does not regenerate here"
    return made


def _draw(name: str, seed: int, shape: list[int], kind: str, mean: float, std: float) -> np.ndarray:
    if kind == "int0":
        return np.zeros(shape, np.int64)
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()) ^ seed))
    drawn = generator.standard_normal(tuple(shape), dtype=np.float32)
    if kind == "absnormal":
        drawn = np.abs(drawn)
    elif kind != "normal":
        raise ValueError(f"{name}: unknown kind {kind!r}")
    made: np.ndarray = np.asarray(np.float32(mean) + np.float32(std) * drawn)
    return made


def relative_error(ours: Any, theirs: Any) -> float:
    """||ours - theirs|| / ||theirs||, in float64; shapes must agree."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def enlarged(small: np.ndarray, times: int) -> np.ndarray:
    """Block images: every value repeated along both last axes."""
    return small.repeat(times, -1).repeat(times, -2)
