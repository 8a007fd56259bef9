"""``run.json``: what was run, with what, for how long, and how good it became. Never imports torch by itself."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instax3d._version import __version__
from instax3d.assets.usage import asset_records
from instax3d.config import RunConfig
from instax3d.errors import PortraitError
from instax3d.registry import PluginEntry, references, registry

from .licenses import license_of

if TYPE_CHECKING:
    from instax3d.types import HeadMesh

MANIFEST = "run.json"
"""Its name in a result folder; a folder that has it is a portrait."""

FORMAT = 1
"""Version of the manifest's layout; readers refuse a newer one."""

_RECORDED = ("torch", "numpy", "numba", "gsplat", "lightning")


def plugin_record(entry: PluginEntry) -> dict[str, str]:
    """Name, distribution, version and license of a plugin."""
    return {
        "name": entry.spec.name,
        "distribution": entry.provider.distribution,
        "version": entry.provider.version,
        "license": license_of(entry.provider.distribution),
    }


def plugin_records(config: RunConfig) -> dict[str, dict[str, str]]:
    """All plugins of a run by slot, those that other plugins name in their options included (``slot.option``)."""
    records = {}
    for kind, choice in config.choices.items():
        records[kind.value] = plugin_record(choice.entry)
        for name, (mark, value) in references(choice.config).items():
            records[f"{kind.value}.{name}"] = plugin_record(registry().get(mark.kind, value))
    return records


def head_record(mesh: "HeadMesh") -> dict[str, str] | None:
    """Which head model, and which version of it, a mesh's parameters are of."""
    return None if mesh.rig is None else {"name": mesh.rig.head.name, "identity": mesh.rig.head.identity}


def new_manifest(
    config: RunConfig,
    *,
    mesh: "HeadMesh",
    source: Mapping[str, Any],
    device: str,
    seconds: Mapping[str, float],
    reused: Mapping[str, float],
    gaussians: int,
    losses: Mapping[str, float],
    metrics: Mapping[str, float],
    not_measured: Mapping[str, str],
    notes: list[str],
) -> dict[str, Any]:
    """The manifest of a finished run; plain values only.

    ``not_measured`` names metrics, with the reason. ``seconds`` are those of the stages that ran; ``reused`` names
    those that did not, with what they once took.
    """
    import torch

    return {
        "format": FORMAT,
        "instax3d": __version__,
        "status": "done",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": dict(source),
        "seed": config.seed,
        "device": device,
        "seconds": {**seconds, "total": round(sum(seconds.values()), 3)},
        "reused": dict(reused),
        "gaussians": gaussians,
        "iterations": config.training.iterations,
        "plugins": plugin_records(config),
        "assets": asset_records(config),
        "head_model": head_record(mesh),
        "losses": {name: round(value, 6) for name, value in losses.items()},
        "metrics": {name: round(value, 4) for name, value in metrics.items()},
        "not_measured": dict(not_measured),
        "notes": notes,
        "machine": {
            "platform": platform.platform(),
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "versions": {name: version(name) for name in _RECORDED},
        },
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The ``run.json`` of a result folder.

    Raises:
        PortraitError: there is none, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PortraitError(f"{folder} holds no portrait: it has no {MANIFEST}") from error
    except (OSError, ValueError) as error:
        raise PortraitError(f"cannot read {path}: {error}") from error
    if not isinstance(manifest, dict) or "instax3d" not in manifest:
        raise PortraitError(f"{path} is not the manifest of a portrait")
    return manifest


def check_output(folder: Path, marker: str = MANIFEST, what: str = "portrait") -> None:
    """Refuse a place for results that holds something else than an earlier result, known by its file ``marker``.

    Raises:
        PortraitError: ``folder`` is a file, or a non-empty folder that is no such result, or cannot be created.
    """
    if folder.is_dir():
        if any(folder.iterdir()) and not (folder / marker).is_file():
            raise PortraitError(f"{folder} exists and is no {what}; choose another folder with -o, or remove it")
    elif folder.exists():
        raise PortraitError(f"{folder} is a file; choose a folder with -o")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir():
        raise PortraitError(f"cannot create {folder}: {above} is a file; choose another folder with -o")
