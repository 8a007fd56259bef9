"""A grid file: subjects, and what is varied over them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from instax3d import _yaml
from instax3d.config import Source, read_yaml, source_kind
from instax3d.errors import ConfigError

_KEYS = ("extends", "subjects", "vary", "cells")
_PLUGIN, _LABEL = "plugin", "label"


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an axis."""

    label: str
    """Its name in tables."""
    overrides: tuple[str, ...]
    """``key=value`` items, as on the command line of ``instax3d create``."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A key of the configuration, and the values that it takes in turn."""

    key: str
    values: tuple[Value, ...]

    @property
    def section(self) -> str:
        """The top-level key that it changes."""
        return self.key.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Subject:
    """A photo or capture that portraits are made from."""

    path: Path
    label: str
    kind: Source
    digest: str
    """Hash of its contents: another photo under the same name is another subject."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid file, read and checked except for the configurations that it makes."""

    subjects: tuple[Subject, ...]
    axes: tuple[Axis, ...]
    subset: tuple[Mapping[str, str], ...] | None
    """Axis to label, for each group of cells that is listed; None means all combinations."""
    preset: str | None
    config: Path | None
    """The file that the grid extends, where it does not extend a preset."""


def study_names() -> list[str]:
    """Names of the grids that come with the package."""
    names = (item.name for item in files("instax3d").joinpath("configs", "studies").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def find_grid(name: str) -> Path:
    """The file of a grid: the path itself, or a study that comes with the package.

    Raises:
        ConfigError: it is neither.
    """
    if Path(name).exists() or name not in study_names():
        if not Path(name).is_file():
            raise ConfigError(f"{name} is neither a grid file nor a study; studies: {', '.join(study_names())}")
        return Path(name)
    return Path(str(files("instax3d").joinpath("configs", "studies", f"{name}.yaml")))


def read_grid(path: Path, *, subjects: Sequence[str] = (), preset: str | None = None) -> Grid:
    """Read a grid such as::

        extends: draft                     # a preset, or a config file beside this one
        subjects: [photos/*.jpg, scan]     # photos, captures, folders of photos, patterns
        vary:
          densifier: [absgs, {plugin: mcmc, max_gaussians: 60000}]
          representation: [triangles, {plugin: unbound, means_rate: 3.0e-4, label: unbound}]
          training.iterations: [300, 600]
          seed: [0, 1, 2]
        cells:                             # optional: these alone, instead of all combinations
          - {densifier: absgs}             # axes that are not named take each of their values

    Args:
        subjects: paths and patterns that replace those of the file, relative to the current folder.
        preset: replaces what the file extends.

    Raises:
        ConfigError: it cannot be read, has unknown keys, lists no subjects, or a subject is not there.
    """
    doc = read_yaml(path)
    unknown = sorted(set(doc) - set(_KEYS))
    if unknown:
        raise ConfigError(f"{path}: no such key: {', '.join(unknown)}; the keys are: {', '.join(_KEYS)}")
    axes = tuple(_axis(path, key, values) for key, values in _mapping(path, "vary", doc.get("vary") or {}).items())
    base, config = (preset, None) if preset else _base(path, doc.get("extends"))
    return Grid(
        subjects=find_subjects(subjects, Path()) if subjects else _own_subjects(path, doc.get("subjects")),
        axes=axes,
        subset=_subset(path, axes, doc.get("cells")),
        preset=base,
        config=config,
    )


def _own_subjects(path: Path, listed: Any) -> tuple[Subject, ...]:
    patterns = [listed] if isinstance(listed, str) else listed
    if not isinstance(patterns, list) or not patterns:
        raise ConfigError(
            f"{path} lists no subjects; name photos or captures after it on the command line, or in the file, "
            "as in subjects: [photos/*.jpg]"
        )
    return find_subjects([str(pattern) for pattern in patterns], path.parent)


def _mapping(path: Path, key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {key} must hold keys such as 'densifier: [absgs, mcmc]'")
    return value


def _base(path: Path, name: Any) -> tuple[str | None, Path | None]:
    if name is None:
        return None, None
    beside = path.parent / str(name)
    if beside.suffix:
        return None, beside
    return str(name), None


def _axis(path: Path, key: str, values: Any) -> Axis:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{path}: vary.{key} must list values, as in {key}: [A, B]")
    axis = Axis(key, tuple(_value(key, value) for value in values))
    labels = [value.label for value in axis.values]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"{path}: vary.{key} lists {label!r} more than once")
    return axis


def _value(key: str, value: Any) -> Value:
    if not isinstance(value, dict):
        text = _text(value)
        return Value(text, (f"{key}={text}",))
    options = [(name, _text(inner)) for name, inner in value.items() if name not in (_PLUGIN, _LABEL)]
    named = [str(value[_PLUGIN])] if _PLUGIN in value else []
    label = str(value.get(_LABEL) or ", ".join([*named, *(f"{name} {text}" for name, text in options)]))
    return Value(label, (*(f"{key}={name}" for name in named), *(f"{key}.{name}={text}" for name, text in options)))


def _text(value: Any) -> str:
    """A plain value in the form that the command line takes."""
    return _yaml.dump(value, one_line=True)


def _subset(path: Path, axes: tuple[Axis, ...], cells: Any) -> tuple[Mapping[str, str], ...] | None:
    if cells is None:
        return None
    labels = {axis.key: {value.label for value in axis.values} for axis in axes}
    subset = []
    for cell in cells if isinstance(cells, list) else [cells]:
        labels_by_axis = {key: _value(key, value).label for key, value in _mapping(path, "each of cells", cell).items()}
        for key, label in labels_by_axis.items():
            if label not in labels.get(key, ()):
                raise ConfigError(f"{path}: cells lists {key}: {label}, which vary does not list")
        subset.append(labels_by_axis)
    return tuple(subset)


def find_subjects(patterns: Iterable[str], folder: Path) -> tuple[Subject, ...]:
    """The photos and captures that paths and patterns name, each once, patterns in sorted order.

    A folder without ``transforms*.json`` stands for the photos in it.

    Raises:
        ConfigError: a path is not there, or a pattern matches nothing.
    """
    paths: dict[Path, Path] = {}
    """By their absolute form, so that each comes once."""
    for pattern in patterns:
        matches = sorted(folder.glob(pattern)) if not Path(pattern).is_absolute() else _absolute(Path(pattern))
        if not matches:
            raise ConfigError(f"no photo or capture in {folder.absolute()} matches {pattern}; check the path")
        for path in matches:
            for subject in _photos(path) if _is_plain_folder(path) else [path]:
                paths.setdefault(subject.absolute(), subject)
    labels = _labels(list(paths))
    return tuple(
        Subject(path, label, source_kind(path), digest_of(path))
        for path, label in zip(paths.values(), labels, strict=True)
    )


def _absolute(path: Path) -> list[Path]:
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.glob("transforms*.json"))


def _photos(folder: Path) -> list[Path]:
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PHOTO_SUFFIXES)
    if not photos:
        raise ConfigError(f"{folder} holds neither photos nor transforms*.json; give another folder")
    return photos


_PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".tif", ".tiff", ".bmp"}


def _labels(paths: list[Path]) -> list[str]:
    """Short names of absolute paths, all different: with as many folders as are needed to tell alike ones apart."""
    labels = [path.stem if path.suffix else path.name for path in paths]
    depth = 2
    while len(set(labels)) < len(labels):
        alike = {label for label in labels if labels.count(label) > 1}
        labels = [
            "/".join(path.parts[-depth:]) if label in alike else label
            for label, path in zip(labels, paths, strict=True)
        ]
        depth += 1
    return labels


def digest_of(path: Path) -> str:
    """Hash of the contents of a file or folder; of a capture's ``transforms*.json`` also of what lies beside it."""
    capture_file = path.suffix == ".json"
    total = hashlib.sha256(path.name.encode() if capture_file else b"")
    root = path.parent if capture_file else path
    for file in sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [path]:
        total.update(file.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:32]
