"""Everything a plugin's registration module may import. Never imports torch.

A plugin family is a package of three files: ``plugin.py`` with one hook that yields `PluginSpec`s, ``config.py`` with
a `PluginConfig` subclass per plugin, and a module with the implementation, which alone may import torch::

    # pyproject.toml
    [project.entry-points."instax3d.plugins"]
    mine = "my_package.plugin"

    # my_package/plugin.py
    from instax3d.plugin import Kind, PluginSpec, hookimpl

    @hookimpl
    def instax3d_plugins():
        yield PluginSpec(kind=Kind.DENSIFIER, name="mine", api=1, summary="Splits at random.",
                         target="my_package.densifier:Mine", config="my_package.config:MineConfig")
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import ClassVar, Literal

import pluggy
from pydantic import BaseModel, ConfigDict

API_VERSION = 1
"""Version of the contracts in `instax3d.interfaces`; a spec that speaks another is not admitted."""

GROUP = "instax3d.plugins"
"""Entry-point group that the registry reads."""

hookspec = pluggy.HookspecMarker("instax3d")
hookimpl = pluggy.HookimplMarker("instax3d")


class Kind(StrEnum):
    """What plugins can be; the value is the slot's key in a config. Metrics and turntable sources are no slots."""

    VIEW_GENERATOR = "view_generator"
    MESH_PRIOR = "mesh_prior"
    REPRESENTATION = "representation"
    DENSIFIER = "densifier"
    RENDERER = "renderer"
    LANDMARK_DETECTOR = "landmark_detector"
    METRIC = "metric"
    CLIP_SOURCE = "clip_source"


class PluginConfig(BaseModel):
    """Base of every plugin's options: typos are errors, values are frozen, attribute docstrings are the help."""

    renamed: ClassVar[Mapping[str, str]] = {}
    """Options that had another name, by their old names; who still writes one is told the new name."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class PluginRef:
    """Marks a config field that names another plugin: ``head: Annotated[str, PluginRef(Kind.MESH_PRIOR)]``.

    The name is looked up when the config is read, so a typo is found before any work; at run time
    `instax3d.registry.build` makes the plugin with its default options.
    """

    kind: Kind
    needs: frozenset[str] = frozenset()
    """Capabilities that the named plugin must provide; checked when the config is read."""


_FILE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_ASSET_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AssetFile:
    """One file that others made and that is not part of any package.

    Raises:
        ValueError: the name could leave the asset's folder or is no name on some system, or the sum is none.
    """

    name: str
    """Where it lies in the asset's folder: plain letters, digits and ``._+-``, ``/`` between folders."""
    url: str | None = None
    """Where it can be downloaded; None where only a person can get it."""
    size: int | None = None
    """Bytes; None where not known for certain."""
    sha256: str | None = None
    """Of the contents, lower-case hexadecimal; None where the publisher's is not known. It is then written down when
    the file is first used, and a later change is refused."""
    token: str | None = None
    """The environment variable with the access token that ``url`` wants, such as HF_TOKEN."""
    also: tuple[str, ...] = ()
    """Other names that the same may have in a folder of the user's own, such as those of its other formats."""

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.name).parts
        odd = [part for part in parts if not _FILE_PART.fullmatch(part) or _RESERVED.fullmatch(part) or part[-1] == "."]
        if not parts or odd or "/".join(parts) != self.name:
            raise ValueError(f"{self.name!r} is no file name that is safe on every system")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.sha256!r} is no SHA-256 in lower-case hexadecimal")
        if self.url is not None and not self.url.startswith(("https://", "http://")):
            raise ValueError(f"{self.url!r} is no address on the web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """Something that plugins use and that its makers, not this project, give to the user: weights, models, data."""

    name: str
    """In lower case with hyphens; unique among all packages."""
    summary: str
    files: tuple[AssetFile, ...]
    """Empty for what comes inside an installed distribution and still has a license of its own."""
    license: str
    """Its name, or "not known"."""
    license_url: str
    commercial: bool | None
    """Whether it may be used commercially; None where this is not known."""
    registration: bool
    """Whether its makers want a registration or a consent before the download."""
    homepage: str
    steps: tuple[str, ...] = ()
    """What a user must do to get it, where that is more than to register at the homepage and download."""

    def __post_init__(self) -> None:
        if not _ASSET_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no asset's name: lower case letters and digits with hyphens between")
        names = [file.name.lower() for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError(f"asset {self.name!r} has files that are one file on some systems")


@dataclass(frozen=True, slots=True, init=False)
class AssetRef:
    """Marks a config field that names files of others: ``model: Annotated[str, AssetRef("my-net")] = "my-net"``.

    The field holds the name of one of these assets, which is looked up in the folder of assets, or a path to the
    user's own copy. What is missing is said before any work; what was used is written into ``run.json``. At run time
    the plugin gets the paths from `instax3d.assets.require`. A field that is None is unused.
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetConverter:
    """A subcommand ``instax3d assets convert-NAME SOURCE -o OUTPUT``."""

    name: str
    summary: str
    target: str
    """``package.module:function`` that takes the two paths, writes the second and returns a sentence about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """A number that describes a portrait: what tables call it, and how it is to be read."""

    name: str
    description: str
    """Its definition in a sentence, with its source."""
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    """None where neither is better."""
    decimals: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSpec:
    """What the registry knows of a plugin before importing it.

    ``needs`` and ``provides`` are capabilities compared when the config is read. In use: ``photo`` and ``capture``
    (provided by the input), ``absgrad`` (a renderer), ``head_model`` (a mesh prior with `MeshPrior.head_model`),
    ``landmarks68``, ``points5``, ``points478`` and ``identity`` (a landmark detector), ``cuda`` and ``cpu`` (the
    device); plugins may add their own.
    """

    kind: Kind
    name: str
    target: str
    """``package.module:Class``, imported when the plugin is first built."""
    config: str
    """``package.module:Config``; that module must not import torch."""
    summary: str
    api: int
    needs: frozenset[str] = frozenset()
    provides: frozenset[str] = frozenset()
    formerly: tuple[str, ...] = ()
    """Names it had in earlier versions; who still writes one is told the new name."""
    imports: tuple[str, ...] = ()
    """Import names that must be present; looked for by ``instax3d plugins check``."""
    extra: str | None = None
    """The pip extra of ``instax3d`` that installs ``imports``."""
    metric_info: tuple[MetricInfo, ...] = ()
    """What a metric measures, in the order of tables."""
    assets: tuple[str, ...] = ()
    """Assets it always uses; those chosen by an option are marked there with `AssetRef`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """A command that a package adds to the command line, ``instax3d NAME …``; known by a line until it is called."""

    name: str
    summary: str
    """The line in ``instax3d --help``."""
    target: str
    """``package.module:command``, a `click.Command` or group. The module is imported when the command is called, or
    asked for its help; it may import torch, but does better to do so where the work begins."""
    extra: str | None = None
    """The pip extra of ``instax3d`` that installs what the command needs."""

    def __post_init__(self) -> None:
        if not _ASSET_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no command's name: lower case letters and digits with hyphens between")


class HookSpecs:
    """Hooks that a plugin module may implement with ``@hookimpl``."""

    @hookspec
    def instax3d_plugins(self) -> Iterable[PluginSpec]:  # type: ignore[empty-body]
        """Return the plugins this package offers. Must not import torch."""

    @hookspec
    def instax3d_assets(self) -> Iterable[Asset]:  # type: ignore[empty-body]
        """Return the files of others that this package's plugins can use. Must not import torch."""

    @hookspec
    def instax3d_converters(self) -> Iterable[AssetConverter]:  # type: ignore[empty-body]
        """Return the conversions of assets that this package offers. Must not import torch."""

    @hookspec
    def instax3d_commands(self) -> Iterable[CommandSpec]:  # type: ignore[empty-body]
        """Return the commands this package adds to the command line. Must not import torch."""
