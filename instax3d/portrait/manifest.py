"""``run.json``: what was run, with what, for how long, and how good the result is. Never imports torch by itself."""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, NonNegativeInt, ValidationError

from instax3d._version import __version__
from instax3d.assets.usage import asset_records
from instax3d.config import RunConfig
from instax3d.errors import PortraitError
from instax3d.io.processors import available_processors
from instax3d.plugin import Kind
from instax3d.registry import PluginEntry, named_plugins

from .layout import MANIFEST
from .licenses import license_of

if TYPE_CHECKING:
    from instax3d.types import HeadMesh

FORMAT = 1
"""Version of the manifest's layout; readers refuse a newer one, and bring an older one up to date."""


def _numbered(manifest: dict[str, Any]) -> dict[str, Any]:
    """From 0, before layouts had numbers, to 1."""
    return {**manifest, "format": 1}


_MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {0: _numbered}
"""From each older layout to the next."""

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
    """The plugins that a run's results come from, by key, those that other plugins name in their options included
    (``slot.option``).

    Under a bound name, such as ``mesh_prior: flame``, also the plugin that acts (``mesh_prior.landmarks``).
    """
    records = {}
    for key, choice in config.plugins:
        kind = choice.entry.spec.kind
        if kind is Kind.METRIC or (kind is Kind.CALLBACK and choice not in config.steering):
            continue
        records[key] = plugin_record(choice.entry)
        acting, *_ = choice.entry.parts
        if acting is not choice.entry:
            records[f"{key}.{acting.spec.name}"] = plugin_record(acting)
        for where, entry, _ in named_plugins(key, choice.config):
            records[where] = plugin_record(entry)
    return records


def head_record(mesh: "HeadMesh") -> dict[str, str] | None:
    """Which head model, and which version of it, a mesh's parameters are of."""
    return None if mesh.rig is None else {"name": mesh.rig.head.name, "identity": mesh.rig.head.identity}


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a finished run reports, beside its configuration."""

    source: Mapping[str, Any]
    """What the portrait was made from; plain values."""
    device: str
    seconds: Mapping[str, float]
    """Of the stages that ran."""
    reused: Mapping[str, float]
    """Stages that did not run, with the seconds that they once took."""
    gaussians: int
    """How many."""
    losses: Mapping[str, float]
    """Of the last step."""
    head_model: Mapping[str, str] | None
    """See `head_record`."""
    fit: Mapping[str, float]
    """How well the head fits (`HeadMesh.metrics`)."""
    metrics: Mapping[str, float]
    """What the metrics measured."""
    not_measured: Mapping[str, str]
    """Metric to the reason why it was not measured."""
    notes: Sequence[str] = ()
    """Shown to the user during the run."""
    densification: Mapping[str, Any] = field(default_factory=dict)
    """How many Gaussians were ``born`` and ``died``, and how many by ``reasons`` (`DensifyReport`)."""


def new_manifest(config: RunConfig, run: RunRecord) -> dict[str, Any]:
    """The manifest of a finished run; plain values only."""
    import torch

    assets = asset_records(config)
    return {
        "format": FORMAT,
        "instax3d": __version__,
        "status": "done",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": dict(run.source),
        "seed": config.seed,
        "device": run.device,
        "seconds": {**run.seconds, "total": round(sum(run.seconds.values()), 3)},
        "reused": dict(run.reused),
        "gaussians": run.gaussians,
        "iterations": config.training.iterations,
        "plugins": plugin_records(config),
        "assets": assets,
        "head_model": None if run.head_model is None else dict(run.head_model),
        "rig": None if run.head_model is None else {"derived_from": _behind_rig(assets)},
        "losses": {name: round(value, 6) for name, value in run.losses.items()},
        "densification": dict(run.densification),
        "fit": {name: round(value, 4) for name, value in run.fit.items()},
        "metrics": {name: round(value, 4) for name, value in run.metrics.items()},
        "not_measured": dict(run.not_measured),
        "notes": list(run.notes),
        "machine": {
            "platform": platform.platform(),
            "python": platform.python_version(),
            "processors": available_processors(),
            "threads": torch.get_num_threads(),
            "versions": {name: version(name) for name in _RECORDED},
        },
    }


def _behind_rig(assets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Assets that ``rig.npz`` is derived from: it holds the head model's expressions and joints, so that a portrait can
    be posed without the model, whose license goes on to count for it."""
    return sorted({asset["name"] for asset in assets if asset["used_by"].startswith(Kind.MESH_PRIOR.value)})


class _Plugin(BaseModel):
    name: str
    distribution: str
    version: str
    license: str | None = None


class _Asset(BaseModel):
    name: str
    used_by: str
    license: str
    license_url: str
    commercial: bool | None


class _Rig(BaseModel):
    derived_from: list[str]


class _Posed(BaseModel):
    expression: dict[str, float]
    joints_deg: dict[str, list[float]]


class _Layout(BaseModel):
    """What readers rely on, where it is there; older versions wrote less."""

    instax3d: str
    format: NonNegativeInt = 0
    gaussians: int = 0
    seconds: dict[str, float] = {}
    reused: dict[str, float] = {}
    fit: dict[str, float] = {}
    metrics: dict[str, float] = {}
    not_measured: dict[str, str] = {}
    plugins: dict[str, _Plugin] = {}
    assets: list[_Asset] = []
    notes: list[str] = []
    rig: _Rig | None = None
    posed: _Posed | None = None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The ``run.json`` of a result folder.

    Raises:
        PortraitError: there is none, it cannot be read, is damaged, or was written by a newer version.
    """
    path = folder / MANIFEST
    try:
        return parse_manifest(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise PortraitError(
            f"{folder} is not a portrait: it has no {MANIFEST}; give a folder that `instax3d create` wrote"
        ) from error
    except OSError as error:
        raise PortraitError(f"cannot read {path}: {error.strerror or error}") from error


def parse_manifest(data: bytes, where: str) -> dict[str, Any]:
    """The manifest in a file's contents, in the current layout.

    Args:
        where: what errors call the file.

    Raises:
        PortraitError: it is damaged, or was written by a newer version.
    """
    try:
        manifest: dict[str, Any] = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PortraitError(f"{where} is not valid JSON ({error}); make the portrait again") from error
    if not isinstance(manifest, dict) or "instax3d" not in manifest:
        raise PortraitError(f"{where} is not the manifest of a portrait; make the portrait again")
    number = manifest.get("format", 0)
    if isinstance(number, int) and number > FORMAT:
        raise PortraitError(f"{where} was written by a newer instax3d ({manifest['instax3d']}); update yours")
    try:
        _Layout.model_validate(manifest, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise PortraitError(f"{where} is damaged: {key}: {first['msg']}; make the portrait again") from error
    for number in range(manifest.get("format", 0), FORMAT):
        manifest = _MIGRATIONS[number](manifest)
    return manifest


def check_output(folder: Path, marker: str = MANIFEST, what: str = "portrait") -> None:
    """Refuse a folder for results that holds something other than an earlier result, known by its file ``marker``.

    Raises:
        PortraitError: ``folder`` is a file, or a non-empty folder that is not such a result, or cannot be created.
    """
    if folder.is_dir():
        if any(folder.iterdir()) and not (folder / marker).is_file():
            raise PortraitError(f"{folder} exists and is not a {what}; choose another folder with -o, or remove it")
    elif folder.exists():
        raise PortraitError(f"{folder} is a file; choose a folder with -o")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir():
        raise PortraitError(f"cannot create {folder}: {above} is a file; choose another folder with -o")
