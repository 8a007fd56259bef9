"""Finds plugins through entry points, sets broken ones aside, and imports a plugin only when it is built."""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, TypeVar, cast, overload

import pluggy
from pydantic import ValidationError

from .errors import (
    AmbiguousPluginError,
    AssetError,
    BrokenPluginError,
    ConfigError,
    IncompatiblePipelineError,
    Instax3DError,
    UnknownPluginError,
    did_you_mean,
)
from .plugin import (
    API_VERSION,
    GROUP,
    Asset,
    AssetConverter,
    CommandSpec,
    HookSpecs,
    Kind,
    LossConfig,
    MetricInfo,
    PluginConfig,
    PluginRef,
    PluginSpec,
)

# What a third party's import may raise and must not take the program down with; SystemExit because packages do it.
_IMPORT_FAILURES = (Exception, SystemExit)
_OWN_DISTRIBUTION = "instax3d"
_API_NAME = "INSTAX3D_API"


@dataclass(frozen=True, slots=True)
class Provider:
    """One entry point: its distribution and, if it could not be loaded, why."""

    entry_point: str
    distribution: str
    version: str
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def reason(self) -> str:
        """One line that says why the entry point was not loaded."""
        return "" if self.error is None else f"{type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """A plugin that can be chosen."""

    spec: PluginSpec
    provider: Provider
    registered: tuple[type[Any], type[PluginConfig]] | None = None
    """Implementation and options of a class given to `register`; None for a plugin of a package, imported when used."""

    @property
    def qualified_name(self) -> str:
        """``distribution/name``, unique also where two packages offer the same name."""
        return f"{self.provider.distribution}/{self.spec.name}"

    def config_class(self) -> type[PluginConfig]:
        """The class of the plugin's options; imports its torch-free config module.

        Raises:
            BrokenPluginError: it cannot be imported or is not a `PluginConfig`, of a loss a `LossConfig`.
        """
        base = LossConfig if self.spec.kind is Kind.LOSS else PluginConfig
        if self.registered is not None:
            options: Any = self.registered[1]
        else:
            options = PluginConfig if self.spec.config is None else _load(self.spec.config, self)
        if options is PluginConfig:  # no options of its own
            return base
        if not (isinstance(options, type) and issubclass(options, base)):
            name = options.__qualname__ if isinstance(options, type) else self.spec.config
            raise BrokenPluginError(f"{self._label()}: {name} is not a subclass of instax3d.{base.__name__}")
        return options

    def plugin_class(self) -> type[Any]:
        """The implementation; imports it and everything it needs.

        Raises:
            BrokenPluginError: it cannot be imported, does not implement its kind, or contradicts its spec.
        """
        from .interfaces import KINDS  # imports torch

        plugin = self.registered[0] if self.registered is not None else _load(self.spec.target, self)
        kind = KINDS[self.spec.kind]
        if not (isinstance(plugin, type) and issubclass(plugin, kind)):
            raise BrokenPluginError(f"{self._label()}: {self.spec.target} is not a subclass of {kind.__name__}")
        missing = sorted(getattr(plugin, "__abstractmethods__", ()))
        if missing:
            raise BrokenPluginError(f"{self._label()}: {self.spec.target} does not implement {', '.join(missing)}")
        contradictions = plugin.contradictions(self.spec)
        if contradictions:
            raise BrokenPluginError(f"{self._label()}: {'; '.join(contradictions)}")
        return plugin

    def build(self, config: PluginConfig) -> Any:
        """The plugin with this validated config."""
        return self.plugin_class()(config)

    def missing_imports(self) -> list[str]:
        """Names in ``spec.imports`` that are not installed."""
        return [name for name in self.spec.imports if find_spec(name) is None]

    def _label(self) -> str:
        return f"{self.spec.kind.value} {self.spec.name!r} from {self.provider}"


def _load(path: str, entry: PluginEntry) -> Any:
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except _IMPORT_FAILURES as error:
        hint = f"; try: pip install 'instax3d[{entry.spec.extra}]'" if entry.spec.extra else ""
        raise BrokenPluginError(
            f"{entry._label()} cannot be imported from {path} ({type(error).__name__}: {error}){hint}"
        ) from error


class Registry:
    """The plugins of a set of entry points. `registry` gives those that are installed."""

    def __init__(self, points: Iterable[EntryPoint]) -> None:
        self._manager = pluggy.PluginManager("instax3d")
        self._manager.add_hookspecs(HookSpecs)
        self.providers: list[Provider] = []
        self.entries: list[PluginEntry] = []
        self.assets: dict[str, Asset] = {}
        self.converters: dict[str, AssetConverter] = {}
        self.commands: dict[str, CommandSpec] = {}
        # Built-ins first, then by distribution: the order never depends on sys.path.
        for point in sorted(points, key=lambda p: (_origin(p)[0] != "instax3d", _origin(p), p.name)):
            self._admit(point)

    def _admit(self, point: EntryPoint) -> None:
        distribution, version = _origin(point)
        name = f"{distribution}:{point.name}"
        try:
            specs = self._specs(point, name)
            assets, converters, commands = self._assets(name), self._converters(name), self._commands(name)
            if not (specs or assets or converters or commands):
                raise LookupError(
                    f"{point.value} announces nothing: it needs a function marked @hookimpl that yields something, "
                    "such as instax3d_plugins"
                )
        except _IMPORT_FAILURES as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            if os.environ.get("INSTAX3D_STRICT_PLUGINS"):
                raise
            self.providers.append(Provider(point.name, distribution, version, error))
            return
        provider = Provider(point.name, distribution, version)
        self.providers.append(provider)
        self.entries += [PluginEntry(spec, provider) for spec in specs]
        self.assets |= assets
        self.converters |= converters
        self.commands |= commands

    def _yielded(self, hook: str, name: str) -> list[Any]:
        """What the package ``name`` yields from a hook."""
        hooks = getattr(self._manager.hook, hook).get_hookimpls()
        return [item for h in hooks if h.plugin_name == name for item in cast(Iterable[Any], h.function())]

    def _assets(self, name: str) -> dict[str, Asset]:
        assets: dict[str, Asset] = {}
        for asset in self._yielded("instax3d_assets", name):
            if not isinstance(asset, Asset):
                raise TypeError(f"instax3d_assets of {name} yields {asset!r}, which is not an Asset")
            # two packages may describe one asset, if they agree
            if {**self.assets, **assets}.get(asset.name, asset) != asset:
                raise RuntimeError(f"asset {asset.name!r} is described differently by another package")
            assets[asset.name] = asset
        return assets

    def _converters(self, name: str) -> dict[str, AssetConverter]:
        converters: dict[str, AssetConverter] = {}
        for converter in self._yielded("instax3d_converters", name):
            if not isinstance(converter, AssetConverter):
                raise TypeError(f"instax3d_converters of {name} yields {converter!r}, which is not an AssetConverter")
            if converter.name in self.converters or converter.name in converters:
                raise RuntimeError(f"the converter {converter.name!r} is already offered by another package")
            converters[converter.name] = converter
        return converters

    def _commands(self, name: str) -> dict[str, CommandSpec]:
        commands: dict[str, CommandSpec] = {}
        for command in self._yielded("instax3d_commands", name):
            if not isinstance(command, CommandSpec):
                raise TypeError(f"instax3d_commands of {name} yields {command!r}, which is not a CommandSpec")
            if command.name in self.commands or command.name in commands:
                raise RuntimeError(f"the command {command.name!r} is already offered by another package")
            commands[command.name] = command
        return commands

    def _specs(self, point: EntryPoint, name: str) -> list[PluginSpec]:
        module = point.load()
        _check_api(point, module)
        self._manager.register(module, name=name)
        self._manager.check_pending()  # a misspelt hook is an error, not silence
        specs = self._yielded("instax3d_plugins", name)
        for spec in specs:
            if not isinstance(spec, PluginSpec):
                raise TypeError(f"instax3d_plugins of {point.value} yields {spec!r}, which is not a PluginSpec")
        return specs

    def add(self, entry: PluginEntry) -> None:
        """Offer a plugin in this process; a class that is defined anew takes the place of its earlier definition.

        Raises:
            AmbiguousPluginError: another plugin of its kind has that name.
        """
        own = [each for each in self.entries if each.registered is not None and each.spec.target == entry.spec.target]
        for other in self.find(entry.spec.kind, entry.spec.name):
            if other not in own:
                raise AmbiguousPluginError(
                    f"{entry.spec.kind.value} {entry.spec.name!r} is already offered by {other.provider}; register "
                    f"{entry.spec.target} under another name"
                )
        replaced = [each for each in own if (each.spec.kind, each.spec.name) == (entry.spec.kind, entry.spec.name)]
        self.entries = [*(each for each in self.entries if each not in replaced), entry]

    def asset(self, name: str) -> Asset:
        """The asset of that name.

        Raises:
            AssetError: no package knows it; the message lists those that are known.
        """
        if name in self.assets:
            return self.assets[name]
        raise AssetError(
            f"unknown asset {name!r}{did_you_mean(name, self.assets)} there are: "
            f"{', '.join(sorted(self.assets)) or 'none'}"
        )

    def plugins(self, kind: Kind) -> list[PluginEntry]:
        """All plugins of one kind."""
        return [entry for entry in self.entries if entry.spec.kind is kind]

    @property
    def broken(self) -> list[Provider]:
        """Entry points that could not be loaded."""
        return [provider for provider in self.providers if provider.error is not None]

    def find(self, kind: Kind, name: str) -> list[PluginEntry]:
        """Those of one kind that a name can mean: a plain name, or ``distribution/name``."""
        return [entry for entry in self.plugins(kind) if name in (entry.spec.name, entry.qualified_name)]

    def name_of(self, entry: PluginEntry) -> str:
        """The shortest name that means this plugin alone: the plain one, or ``distribution/name``."""
        return entry.spec.name if len(self.find(entry.spec.kind, entry.spec.name)) == 1 else entry.qualified_name

    def get(self, kind: Kind, name: str, where: str = "") -> PluginEntry:
        """The plugin of that name, or of that ``distribution/name``; ``where`` is named in the error.

        Raises:
            UnknownPluginError: there is none; the message lists those that are installed, and the broken packages.
            AmbiguousPluginError: more than one package offers it.
        """
        matches = self.find(kind, name)
        if len(matches) == 1:
            return matches[0]
        at = f" (at {where})" if where else ""
        if matches:
            choices = ", ".join(sorted(entry.qualified_name for entry in matches))
            raise AmbiguousPluginError(
                f"{kind.value} {name!r}{at} is offered by more than one package; write one of: {choices}"
            )
        pool = self.plugins(kind)
        renamed = [entry.spec.name for entry in pool if name in entry.spec.formerly]
        if renamed:
            raise UnknownPluginError(f"{kind.value} {name!r}{at} is now called {renamed[0]!r}")
        guess = did_you_mean(name, (entry.spec.name for entry in pool))
        installed = ", ".join(f"{entry.spec.name} ({entry.provider})" for entry in pool) or "none"
        lines = [f"unknown {kind.value} {name!r}{at}{guess} installed: {installed}"]
        lines += [f"  not loaded: {p.entry_point} of {p} ({p.reason})" for p in self.broken]
        raise UnknownPluginError("\n".join(lines))


def _check_api(point: EntryPoint, module: object) -> None:
    """Refuse a package that was written for another version of the contract.

    It says so itself: what is said here at its import would always be the version installed now.
    """
    if point.dist is not None and point.dist.name == _OWN_DISTRIBUTION:
        return
    version = getattr(module, _API_NAME, None)
    if version is None:
        raise RuntimeError(
            f"{point.value} does not say which plugin API it targets; add {_API_NAME} = {API_VERSION} to it"
        )
    if version != API_VERSION:
        raise RuntimeError(f"{point.value} targets plugin API {version}, instax3d offers {API_VERSION}; update one")


def _origin(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("(development)", "0")


@cache
def registry() -> Registry:
    """The installed plugins, read once, and those given to `register`.

    Environment variables: ``INSTAX3D_DISABLE_PLUGINS=a,b`` leaves out entry points by name;
    ``INSTAX3D_DEV_PLUGINS=my_package.plugin`` adds registration modules that are not installed;
    ``INSTAX3D_STRICT_PLUGINS=1`` lets a plugin that cannot be loaded raise, for its author.
    """
    disabled = set(filter(None, os.environ.get("INSTAX3D_DISABLE_PLUGINS", "").split(",")))
    points = [point for point in entry_points(group=GROUP) if point.name not in disabled]
    modules = filter(None, os.environ.get("INSTAX3D_DEV_PLUGINS", "").split(","))
    return Registry([*points, *(EntryPoint(module, module, GROUP) for module in modules)])


K = TypeVar("K")


def kind_of(kind: Callable[[Any], object]) -> Kind:
    """The kind of an abstract class in `instax3d.interfaces`, or of a subclass.

    Raises:
        TypeError: it is neither.
    """
    found = getattr(kind, "kind", None)
    if not isinstance(found, Kind):
        raise TypeError(f"{kind!r} is neither an abstract class of instax3d.interfaces, such as Renderer, nor derived")
    return found


@overload
def build(kind: Callable[[PluginConfig], K], name: str, **options: Any) -> K: ...
@overload
def build(kind: Callable[[LossConfig], K], name: str, **options: Any) -> K: ...
def build(kind: Callable[[Any], K], name: str, **options: Any) -> K:
    """Make an installed plugin by name, with its defaults except for ``options``: ``build(Renderer, "cpu")``.

    Args:
        kind: the abstract class of the plugin's kind.
        name: as in a config, also ``distribution/name``.

    Raises:
        UnknownPluginError, AmbiguousPluginError, BrokenPluginError: there is no such plugin, or it cannot be used.
        ConfigError: an option is wrong, or names a plugin that will not do.
    """
    entry = registry().get(kind_of(kind), name)
    label = f"{entry.spec.kind.value} {name!r}"
    try:
        config = entry.config_class().model_validate(options)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise ConfigError(f"{label}: {problems}") from error
    for problem in reference_problems(label, config):
        raise problem
    plugin: K = entry.build(config)
    return plugin


def references(config: PluginConfig) -> Mapping[str, tuple[PluginRef, str]]:
    """Options that name another plugin: field to its mark and the name; those that are None are left out."""
    marked = {}
    for name, info in type(config).model_fields.items():
        marks = [mark for mark in info.metadata if isinstance(mark, PluginRef)]
        if marks and getattr(config, name) is not None:
            marked[name] = (marks[0], getattr(config, name))
    return marked


def reference_problems(where: str, config: PluginConfig) -> Iterator[Instax3DError]:
    """What is wrong with the plugins that options name: not installed, or without a capability that is needed."""
    plugins = registry()
    for name, (mark, value) in references(config).items():
        try:
            entry = plugins.get(mark.kind, value, where=f"{where}.{name}")
        except Instax3DError as error:
            yield error
            continue
        if not mark.accepts(entry.spec.provides):
            suitable = [e.spec.name for e in plugins.plugins(mark.kind) if mark.accepts(e.spec.provides)]
            yield IncompatiblePipelineError(
                f"{where}.{name}: {mark.kind.value} {value!r} does not provide {mark}; "
                f"these do: {', '.join(suitable) or 'none is installed'}"
            )


P = TypeVar("P", bound=type)


@overload
def register(
    plugin: P,
    *,
    name: str,
    config: type[PluginConfig] = ...,
    summary: str = ...,
    needs: Iterable[str] = ...,
    provides: Iterable[str] = ...,
    metric_info: tuple[MetricInfo, ...] = ...,
    assets: tuple[str, ...] = ...,
) -> P: ...
@overload
def register(
    plugin: None = None,
    *,
    name: str,
    config: type[PluginConfig] = ...,
    summary: str = ...,
    needs: Iterable[str] = ...,
    provides: Iterable[str] = ...,
    metric_info: tuple[MetricInfo, ...] = ...,
    assets: tuple[str, ...] = ...,
) -> Callable[[P], P]: ...
def register(
    plugin: P | None = None,
    *,
    name: str,
    config: type[PluginConfig] = PluginConfig,
    summary: str = "",
    needs: Iterable[str] = (),
    provides: Iterable[str] = (),
    metric_info: tuple[MetricInfo, ...] = (),
    assets: tuple[str, ...] = (),
) -> P | Callable[[P], P]:
    """Offer a class as a plugin by name, in this process and without a package, as from a script or a notebook::

        @instax3d.register(name="mine", config=MyConfig)
        class Mine(instax3d.Densifier[MyConfig]): ...

        instax3d.create("me.jpg", overrides=["densifier=mine"])

    A class that is defined anew, as by running a notebook's cell again, replaces its earlier definition. Other
    processes do not know the plugin. The stage cache follows the file that defines the class; where there is none, as
    in a notebook, the plugin's stages are always run.

    Args:
        plugin: a complete subclass of an abstract kind; left out where this decorates it.
        name: as a config will write it.
        config: the class of its options.
        summary: for ``instax3d plugins list``; by default the first line of the class's docstring.
        needs, provides, metric_info, assets: as in `PluginSpec`.

    Returns:
        The class.

    Raises:
        TypeError: the class is of no kind.
        BrokenPluginError: it does not implement its kind, or contradicts ``needs`` or ``provides``.
        AmbiguousPluginError: another plugin of that kind has the name.
    """

    def admit(plugin: P) -> P:
        target = f"{plugin.__module__}:{plugin.__qualname__}"
        spec = PluginSpec(
            kind=kind_of(plugin),
            name=name,
            target=target,
            config=f"{config.__module__}:{config.__qualname__}",
            summary=summary or (plugin.__doc__ or "").strip().partition("\n")[0],
            needs=frozenset(needs),
            provides=frozenset(provides),
            metric_info=metric_info,
            assets=assets,
        )
        entry = PluginEntry(spec, Provider(target, "(registered)", "0"), (plugin, config))
        entry.plugin_class()
        entry.config_class()
        registry().add(entry)
        return plugin

    return admit if plugin is None else admit(plugin)
