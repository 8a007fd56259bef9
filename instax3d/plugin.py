"""Everything a plugin's registration module may import. Never imports torch.

A plugin family is a package of three files: ``plugin.py`` with one hook that yields `PluginSpec`s, ``config.py`` with
a `PluginConfig` subclass per plugin, and a module with the implementation, which alone may import torch::

    # pyproject.toml
    [project.entry-points."instax3d.plugins"]
    mine = "my_package.plugin"

    # my_package/plugin.py
    from collections.abc import Iterator

    from instax3d import Kind, PluginSpec, hookimpl

    INSTAX3D_API = "1.1"

    @hookimpl
    def instax3d_plugins() -> Iterator[PluginSpec]:
        yield PluginSpec(kind=Kind.DENSIFIER, name="mine", summary="Splits at random.",
                         target="my_package.densifier:Mine", config="my_package.config:MineConfig")

``INSTAX3D_API`` says which version of the contract the package was written for, once for all its plugins: major and
minor, in quotes; 1 means 1.0. It loads in this major version from that minor version on. (Packages of instax3d's own
distribution leave it out: they are always of the version they come with.)
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, get_args

import pluggy
from pydantic import BaseModel, BeforeValidator, ConfigDict, NonNegativeFloat

API_VERSION = "1.1"
"""Version of the contract tier, major and minor. A package is loaded if its ``INSTAX3D_API`` has the same major version
and no newer minor one. 1.1 added head models, losses, callbacks and stages to the kinds."""

Datum = Literal["views", "mesh", "gaussians"]
"""What passes from stage to stage."""

GROUP = "instax3d.plugins"
"""The entry-point group that the registry reads."""

LIGHTNING = "lightning"
"""What a callback provides that hands Lightning something (`instax3d.interfaces.Callback.lightning`)."""

hookspec = pluggy.HookspecMarker("instax3d")
hookimpl = pluggy.HookimplMarker("instax3d")


class Kind(StrEnum):
    """The kinds of plugins; the value is the slot's key in a config.

    Losses, metrics, stages and callbacks fill no slot: a config lists them. Head models and clip sources are named by
    options and commands.
    """

    VIEW_GENERATOR = "view_generator"
    MESH_PRIOR = "mesh_prior"
    REPRESENTATION = "representation"
    DENSIFIER = "densifier"
    RENDERER = "renderer"
    LANDMARK_DETECTOR = "landmark_detector"
    METRIC = "metric"
    CLIP_SOURCE = "clip_source"
    HEAD_MODEL = "head_model"
    LOSS = "loss"
    CALLBACK = "callback"
    STAGE = "stage"


class PluginConfig(BaseModel):
    """Base of every plugin's options: typos are errors, values are frozen, attribute docstrings are the help."""

    renamed: ClassVar[Mapping[str, str]] = {}
    """Options that had another name: old name to new name. An old name is refused with the new one."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)

    def ignored_options(self) -> Mapping[str, str]:
        """Options that have no effect beside the values of the others: name to the reason. A user who sets one is told.

        The reason completes the sentence "NAME has no effect: …".
        """
        return {}


class LossConfig(PluginConfig):
    """Base of every loss's options."""

    weight: NonNegativeFloat = 1.0
    """Factor of the loss in the sum that is minimized."""


def _name_or_options(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if not isinstance(value.get("plugin"), str):
        raise ValueError("must name a plugin, as in NAME or {plugin: NAME, option: value}")
    return value["plugin"] if len(value) == 1 else dict(value)


NamedPlugin = Annotated[str | dict[str, Any], BeforeValidator(_name_or_options)]
"""The type of an option marked with `PluginRef`: a plugin's name, or ``{plugin: NAME, option: value, …}``."""


@dataclass(frozen=True, slots=True)
class PluginRef:
    """Marks a config field that names another plugin, with or without options of that plugin::

        head: Annotated[NamedPlugin, PluginRef(Kind.HEAD_MODEL)] = "mannequin"

    Name and options are checked when the config is read, so a typo is found before any work; at run time
    ``instax3d.build(HeadModel, self.config.head)`` makes the plugin. With ``str`` in place of `NamedPlugin` the option
    takes a name alone.
    """

    kind: Kind
    needs: frozenset[str] = frozenset()
    """Capabilities that the named plugin must all provide; checked when the config is read."""
    any_of: frozenset[str] = frozenset()
    """Capabilities of which it must provide at least one; empty for none."""

    def accepts(self, provides: frozenset[str]) -> bool:
        """Whether a plugin with these capabilities will do."""
        return self.needs <= provides and (not self.any_of or bool(self.any_of & provides))

    def __str__(self) -> str:
        parts = sorted(self.needs)
        if self.any_of:
            parts.append(" or ".join(sorted(self.any_of)))
        return ", ".join(parts)


_FILE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_ASSET_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AssetFile:
    """One third-party file that is not part of any package.

    Raises:
        ValueError: the name could leave the asset's folder or is not valid on every system, the checksum is not a
            SHA-256, or the URL is not one of the web.
    """

    name: str
    """Path within the asset's folder: letters, digits and ``._+-``, with ``/`` between folders."""
    url: str | None = None
    """Where it can be downloaded; None if only a person can get it."""
    size: int | None = None
    """Bytes; None if not known for certain."""
    sha256: str | None = None
    """Checksum of the contents, lower-case hexadecimal; None if the publisher's is not known. It is then recorded when
    the file is first used, and a later change is refused."""
    token: str | None = None
    """The environment variable with the access token that ``url`` requires, such as HF_TOKEN."""
    also: tuple[str, ...] = ()
    """Other names that it may have in the user's own folder, such as those of its other formats."""

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.name).parts
        bad = [part for part in parts if not _FILE_PART.fullmatch(part) or _RESERVED.fullmatch(part) or part[-1] == "."]
        if not parts or bad or "/".join(parts) != self.name:
            raise ValueError(f"{self.name!r} is not a file name that is safe on every system")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.sha256!r} is not a SHA-256 in lower-case hexadecimal")
        if self.url is not None and not self.url.startswith(("https://", "http://")):
            raise ValueError(f"{self.url!r} is not an http or https URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A third-party asset that plugins use and users get from its publisher: weights, head models, data."""

    name: str
    """Lower-case letters and digits with hyphens; unique among all packages."""
    summary: str
    files: tuple[AssetFile, ...]
    """Empty for an asset that comes inside an installed distribution and has a license of its own."""
    license: str
    """The license's name, or "not known"."""
    license_url: str
    commercial: bool | None
    """Whether it may be used commercially; None if not known."""
    registration: bool
    """Whether the publisher requires registration or consent before the download."""
    homepage: str
    steps: tuple[str, ...] = ()
    """How to get it, if there is more to do than to register at the homepage and download."""

    def __post_init__(self) -> None:
        if not _ASSET_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not an asset name: use lower-case letters and digits, hyphens between")
        names = [file.name.lower() for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError(f"asset {self.name!r} has file names that differ only in case")


@dataclass(frozen=True, slots=True, init=False)
class AssetRef:
    """Marks a config field that names a third-party asset: ``model: Annotated[str, AssetRef("my-net")] = "my-net"``.

    The field holds the name of one of these assets, which is looked up in the assets folder, or a path to the user's
    own copy. A missing asset is reported before any work; those used are recorded in ``run.json``. At run time the
    plugin gets the paths from `instax3d.assets.require`. A field that is None is unused.
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
    """``package.module:function`` that takes both paths, writes OUTPUT and returns a sentence about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """A number that describes a portrait: its name in tables, and how to read it."""

    name: str
    description: str
    """The definition in one sentence, with its source."""
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    """None if neither is better."""
    decimals: int = 2

    def format(self, value: float) -> str:
        """The value with its decimals and unit, as in ``31.42 dB``."""
        return f"{value:.{self.decimals}f} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSpec:
    """What the registry knows about a plugin before importing it.

    ``needs`` and ``provides`` are capabilities compared when the config is read. In use: ``photo`` and ``capture``
    (provided by the input), ``absgrad`` (a renderer), ``head_model`` (a mesh prior with `MeshPrior.head_model`),
    ``landmarks68``, ``points5``, ``points478`` and ``identity`` (a landmark detector), ``lightning`` (a callback with
    `Callback.lightning`), ``cuda`` and ``cpu`` (the device); plugins may add their own, as the head model of one FLAME
    version does with ``flame-2020``.
    """

    kind: Kind
    name: str
    target: str
    """``package.module:Class``, imported when the plugin is first built."""
    summary: str
    config: str | None = None
    """``package.module:Config``; that module must not import torch. None: the plugin has no options."""
    needs: frozenset[str] = frozenset()
    provides: frozenset[str] = frozenset()
    formerly: tuple[str, ...] = ()
    """Names it had in earlier versions; an old name is refused with the new one."""
    imports: tuple[str, ...] = ()
    """Packages that it imports; ``instax3d plugins check`` looks for them."""
    extra: str | None = None
    """The pip extra of ``instax3d`` that installs ``imports``."""
    metric_info: tuple[MetricInfo, ...] = ()
    """The numbers that a metric measures, in the order of tables."""
    assets: tuple[str, ...] = ()
    """Assets that it always uses; those chosen by an option are marked there with `AssetRef`."""
    reads: tuple[Datum, ...] = ()
    """What a stage reads of what the stages before it made."""
    makes: Datum | None = None
    """What a stage makes anew, in place of what there was."""
    binds: str = ""
    """An option marked with `PluginRef`: the name of each plugin that it can name may be written in place of this
    plugin's, with the options of both. So ``mesh_prior: flame`` is the prior that fits any head model, with
    ``head: flame``. Names that plugins of this kind have already stay theirs."""

    def __post_init__(self) -> None:
        """Refuse what only another kind can mean, and one name where a set or tuple of them belongs.

        Raises:
            ValueError: ``metric_info`` of what is no metric, ``reads`` or ``makes`` of what is no stage, a stage that
                does not say what it makes, a datum that there is not, or a string instead of several.
        """
        what = f"{self.kind.value} {self.name!r}"
        for field in ("needs", "provides", "formerly", "imports", "assets", "reads"):
            value = getattr(self, field)
            if isinstance(value, str):
                raise ValueError(f"{what}: {field} holds several names; write ({value!r},) instead of {value!r}")
        if self.metric_info and self.kind is not Kind.METRIC:
            raise ValueError(f"{what} has metric_info, which only metrics have; leave it out")
        if (self.reads or self.makes) and self.kind is not Kind.STAGE:
            raise ValueError(f"{what} has reads or makes, which only stages have; leave them out")
        known = get_args(Datum)
        if self.kind is Kind.STAGE and self.makes not in known:
            raise ValueError(f"{what} must say what it makes, one of: {', '.join(known)}; it says {self.makes!r}")
        unknown = [name for name in self.reads if name not in known]
        if unknown:
            raise ValueError(f"{what} reads {', '.join(map(repr, unknown))}, but stages read: {', '.join(known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """A command that a package adds to the command line, ``instax3d NAME …``; imported when it is called."""

    name: str
    summary: str
    """Its line in ``instax3d --help``."""
    target: str
    """``package.module:command``, a `click.Command` or group. The module is imported when the command is called, also
    for its help; import torch inside the command, so that its help stays quick."""
    extra: str | None = None
    """The pip extra of ``instax3d`` that installs what the command needs."""

    def __post_init__(self) -> None:
        if not _ASSET_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a command name: use lower-case letters and digits, hyphens between")


class HookSpecs:
    """Hooks that a registration module may implement with ``@hookimpl``; one is enough."""

    @hookspec
    def instax3d_plugins(self) -> Iterable[PluginSpec]:  # type: ignore[empty-body]
        """Return the plugins of this package. Must not import torch."""

    @hookspec
    def instax3d_assets(self) -> Iterable[Asset]:  # type: ignore[empty-body]
        """Return the third-party assets that this package's plugins can use. Must not import torch."""

    @hookspec
    def instax3d_converters(self) -> Iterable[AssetConverter]:  # type: ignore[empty-body]
        """Return the asset converters of this package. Must not import torch."""

    @hookspec
    def instax3d_commands(self) -> Iterable[CommandSpec]:  # type: ignore[empty-body]
        """Return the commands this package adds to the command line. Must not import torch."""
