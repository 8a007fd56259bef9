"""Which assets a configuration uses: checked before the run, recorded after it."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from instax3d.config import PluginChoice, RunConfig
from instax3d.errors import AssetError
from instax3d.io.paths import assets_dir
from instax3d.plugin import AssetRef, Kind, PluginConfig
from instax3d.registry import PluginEntry, named_plugins, registry

from .ledger import Ledger, sha256
from .library import Located, require


def required(config: PluginConfig) -> Iterator[tuple[str, AssetRef, str]]:
    """Options that name assets: field, mark and value; those that are None are left out."""
    for name, info in type(config).model_fields.items():
        for mark in info.metadata:
            value = getattr(config, name)
            if isinstance(mark, AssetRef) and value is not None:
                yield name, mark, str(value)


def resolve(mark: AssetRef, value: str) -> tuple[str, Located]:
    """The asset that a marked option means, "" if it is not known, and its files.

    Raises:
        AssetError: it is absent, or neither an asset of the mark nor a path.
    """
    if value in mark.names:
        return value, require(value)
    if not Path(value).expanduser().exists():
        raise AssetError(
            f"{value} does not exist; give the path of your own copy, or one of: {', '.join(mark.names)} "
            "(see `instax3d assets list`)"
        )
    located = require(mark.names[0], value)
    if len(mark.names) == 1:
        return mark.names[0], located
    names = {file.sha256: name for name in mark.names for file in registry().asset(name).files if file.sha256}
    paths = [path for path in located.files.values() if path.is_file()]
    return next((names[s] for s in map(sha256, paths) if s in names), ""), located


def check_assets(config: RunConfig) -> None:
    """Refuse a configuration whose assets are not here.

    Raises:
        AssetError: with all missing assets, one a line.
    """
    problems = []
    for where, _, plugin_config in _plugins(config):
        for field, mark, value in required(plugin_config):
            try:
                resolve(mark, value)
            except AssetError as error:
                problems.append(f"{where}.{field}: {error}")
    if problems:
        raise AssetError("\n".join(problems))


def contents(config: PluginConfig) -> list[str]:
    """The SHA-256 of every asset file that a plugin with these options reads.

    Raises:
        AssetError: one is not here.
    """
    assets = (resolve(mark, value)[1] for _, mark, value in required(config))
    return [_sum(path, own=located.own) for located in assets for path in located.files.values()]


def asset_records(config: RunConfig) -> list[dict[str, Any]]:
    """The assets that a run used, for ``run.json``: used by which plugin, name, files, license.

    Raises:
        AssetError: one is not here.
    """
    records: list[dict[str, Any]] = []
    for where, entry, plugin_config in _plugins(config):
        records += _records(where, entry, plugin_config)
    for where, choice in config.plugins:
        if choice.entry.spec.kind is Kind.METRIC:
            with suppress(AssetError):  # then the metric was not measured, which the manifest says
                for used in _with_named(where, choice):
                    records += _records(*used)
    return records


def _records(where: str, entry: PluginEntry, config: PluginConfig) -> list[dict[str, Any]]:
    records = []
    for field, mark, value in required(config):
        name, located = resolve(mark, value)
        records.append(_record(f"{where}.{field}", name or _alike(mark), located))
    return records + [_record(where, name, None) for name in entry.spec.assets]


def _plugins(config: RunConfig) -> Iterator[tuple[str, PluginEntry, PluginConfig]]:
    """All plugins of a run except the metrics, with their options."""
    for where, choice in config.plugins:
        if choice.entry.spec.kind is not Kind.METRIC:
            yield from _with_named(where, choice)


def _with_named(where: str, choice: PluginChoice) -> Iterator[tuple[str, PluginEntry, PluginConfig]]:
    """A plugin and those that its options name, with their options."""
    yield where, choice.entry, choice.config
    yield from named_plugins(where, choice.config)


def _alike(mark: AssetRef) -> str:
    """The asset recorded for the user's own copy of one of several: the first, if all have the same license."""
    licenses = {registry().asset(name).license for name in mark.names}
    return mark.names[0] if len(licenses) == 1 else ""


def _record(used_by: str, name: str, located: Located | None) -> dict[str, Any]:
    record: dict[str, Any] = {"used_by": used_by, "name": name or "not known"}
    asset = registry().asset(name) if name else None
    record["license"] = asset.license if asset else "not known"
    record["license_url"] = asset.license_url if asset else ""
    record["commercial"] = asset.commercial if asset else None
    if located is not None:
        ledger = Ledger(assets_dir())
        record["files"] = [
            {"path": str(path), "sha256": _sum(path, own=located.own), "revision": ledger.revision_of(path)}
            for path in located.files.values()
        ]
    return record


def _sum(path: Path, *, own: bool) -> str:
    """The SHA-256 of a file, or of the names and checksums in a folder; the user's own may change.

    Files that did not change since they were last read are not read again.
    """
    ledger = Ledger(assets_dir())
    if path.is_file():
        return ledger.sum_of(path, keep_first=not own)
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    lines = (f"{file.relative_to(path).as_posix()} {ledger.sum_of(file, keep_first=not own)}\n" for file in inside)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
