"""Hashes of all that a stage's result depends on: its input, its options, and the code that makes it.

Of a plugin's code the whole package of its implementation counts, and what that imports from its own distribution or
from code under development (`instax3d.stages.sources`); of other libraries the version counts.
"""

import hashlib
import json
import re
import sys
import uuid
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from instax3d.assets.usage import contents
from instax3d.config import PluginChoice, RunConfig
from instax3d.registry import PluginEntry, named_plugins
from instax3d.types import Capture, Photo

from .records import stages_of
from .sources import libraries, package_files, plugin_sources

NOT_HASHED = ("__main__.py", "benchmark", "cli", "configs", "portrait", "report", "testing")
"""Parts of this package that no stage's result depends on: they choose, show, store or measure."""


def digest(*parts: Any) -> str:
    """A hash of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def hash_file(path: Path) -> str:
    """A hash of a file's contents.

    Raises:
        OSError: it cannot be read.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hash_source(path: Path, source: Photo | Capture) -> str:
    """A hash of what a portrait is made from, wherever it lies and whatever it is called."""
    if isinstance(source, Photo):
        return hash_file(path)
    cameras = source.cameras
    size = [cameras.width, cameras.height]
    return digest([hash_file(file) for file in source.files], cameras.viewmats.tolist(), cameras.Ks.tolist(), size)


@cache
def hash_libraries(distribution: str) -> str:
    """A hash of the versions of all that a distribution requires, whose results may change from one to the next.

    Of the extras, those that are installed count, but ``dev`` does not.
    """
    lines = requires(distribution) or []
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if not re.search(r"extra\s*==\s*.dev\b", line)}
    return digest([(name, _version(name)) for name in sorted(names)])


def _version(distribution: str) -> str | None:
    """The installed version; None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@cache
def hash_core() -> str:
    """A hash of this package, as far as results depend on it, and of the libraries it calculates with."""
    files = package_files("instax3d").items()
    code = [(name, hash_file(path)) for name, path in sorted(files) if name.partition("/")[0] not in NOT_HASHED]
    return digest(code, hash_libraries("instax3d"))


@cache
def hash_code(target: str, config: str, distribution: str) -> str:
    """A hash of the code and data of a plugin.

    Args:
        target: the module of its implementation.
        config: the module of its options.
        distribution: where both come from.

    Raises:
        BrokenPluginError: a module is not there.
    """
    return digest([(name, hash_file(path)) for name, path in sorted(plugin_sources(target, config, distribution))])


def hash_plugin(entry: PluginEntry) -> str:
    """A hash of a plugin's name and code, and of the libraries it calculates with; of both plugins for a bound name.

    Of a registered class that no file defines, as in a notebook, it is never the same.

    Raises:
        BrokenPluginError: its code is not there.
    """
    if entry.parts != (entry,):
        return digest(entry.qualified_name, [*map(hash_plugin, entry.parts)])
    target = entry.spec.target.partition(":")[0]
    config = target if entry.spec.config is None else entry.spec.config.partition(":")[0]
    provider = entry.provider
    if entry.registered is None:
        code = hash_code(target, config, provider.distribution)
    elif _has_file(target) and _has_file(config):
        code = hash_code.__wrapped__(target, config, provider.distribution)  # can be edited and registered again
    else:
        return uuid.uuid4().hex
    return digest(entry.qualified_name, provider.version, code, _hash_used(target, config, provider.distribution))


def _has_file(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and Path(file).is_file()


def _hash_used(target: str, config: str, distribution: str) -> str:
    """A hash of the versions of the libraries that a plugin uses: those that its distribution requires; of a plugin in
    development, for which none says so, those that it imports."""
    if _version(distribution) is not None:
        return hash_libraries(distribution)
    return digest([(name, _version(name)) for name in sorted(libraries(target, config, distribution))])


def hash_choice(choice: PluginChoice) -> str:
    """A hash of a plugin's code and options, of the plugins that its options name, and of the files they read."""
    used = [(choice.entry, choice.config), *((entry, config) for _, entry, config in named_plugins("", choice.config))]
    return digest([(hash_plugin(entry), config.model_dump(mode="json"), contents(config)) for entry, config in used])


def stage_keys(config: RunConfig, device: str, source: str) -> dict[str, str]:
    """The key of each stage's result: a hash of what the stage depends on, the stages before it included."""
    values = {**config.to_dict(), "device": device}
    key, keys = digest(hash_core(), source, config.seed), {}
    for stage in stages_of(config):
        plugins = [hash_choice(choice) for choice in stage.choices(config)]
        key = keys[stage.name] = digest(key, [values[name] for name in stage.options], plugins)
    return keys
