"""Finds plugins through entry points, sets broken ones aside, and imports a plugin only when it is built."""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from inspect import isroutine
from typing import Any, TypeVar, cast, overload

import pluggy
from pydantic import ValidationError

from ._api import API_NAME, check_version
from ._binding import BoundConfig, bound_config, collisions
from ._development import points_of
from ._sharing import shared
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
    Datum,
    HookSpecs,
    Kind,
    LossConfig,
    MetricInfo,
    PluginConfig,
    PluginRef,
    PluginSpec,
    hookimpl,
)

# What a third party's import may raise and must not take the program down with; SystemExit because packages do it.
_IMPORT_FAILURES = (Exception, SystemExit)
_OWN_DISTRIBUTION = "instax3d"


@dataclass(frozen=True, slots=True)
class Provider:
    """One entry point: its distribution and, if it could not be loaded, why."""

    entry_point: str
    distribution: str
    version: str
    error: BaseException | None = None
    api: str = API_VERSION
    """The version of the contract that it was written for; where it does not say, the one that is installed."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def reason(self) -> str:
        """One line that says why the entry point was not loaded."""
        if self.error is None or isinstance(self.error, Instax3DError):
            return str(self.error or "")
        return f"{type(self.error).__name__}: {self.error}"


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
        if self.spec.binds and _mark(options, self.spec.binds) is None:
            raise BrokenPluginError(
                f"{self._label()} binds {self.spec.binds!r}, which no option marked with PluginRef is"
            )
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
        """The plugin with this validated config; that of a kind that is shared is made once per process."""
        plugin = self.plugin_class()
        if not plugin.shared:
            return plugin(config)
        # these choose, among other things, the folder of the assets
        variables = tuple(sorted((key, value) for key, value in os.environ.items() if key.startswith("INSTAX3D_")))
        return shared((plugin, config.model_dump_json(), variables), lambda: plugin(config))

    def missing_imports(self) -> list[str]:
        """Names in ``spec.imports`` that are not installed."""
        return [name for name in self.spec.imports if find_spec(name) is None]

    @property
    def parts(self) -> tuple["PluginEntry", ...]:
        """The plugins that its results come from: itself, but for a bound name."""
        return (self,)

    def _label(self) -> str:
        return f"{self.spec.kind.value} {self.spec.name!r} from {self.provider}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundEntry(PluginEntry):
    """A plugin under the name of another, which one of its options names (`PluginSpec.binds`)."""

    base: PluginEntry
    named: PluginEntry

    @classmethod
    def of(cls, base: PluginEntry, named: PluginEntry) -> "BoundEntry":
        """``base`` under the name of ``named``."""
        one, other = base.spec, named.spec
        spec = replace(
            one,
            name=other.name,
            summary=other.summary,
            needs=one.needs | other.needs,
            provides=one.provides | other.provides,
            formerly=other.formerly,
            imports=(*one.imports, *other.imports),
            extra=other.extra or one.extra,
            assets=(*one.assets, *other.assets),
            binds="",
        )
        return cls(spec, named.provider, base=base, named=named)

    @property
    def parts(self) -> tuple[PluginEntry, ...]:
        return (self.base, self.named)

    def config_class(self) -> type[PluginConfig]:
        """The options of both.

        Raises:
            BrokenPluginError: one of the classes cannot be imported, or both have an option of the same name.
        """
        option = self.base.spec.binds
        base, named = self.base.config_class(), self.named.config_class()
        both = collisions(base, option, named)
        if both:
            raise BrokenPluginError(
                f"{self._label()} cannot be written so, as it and {self.base.spec.name!r} both have the option "
                f"{', '.join(both)}; write {self.spec.kind.value}={{plugin: {self.base.spec.name}, {option}: {{plugin: "
                f"{self.spec.name}, …}}}}"
            )
        return bound_config(base, option, named, self.named.qualified_name)

    def plugin_class(self) -> type[Any]:
        """The implementation of the base, once that of the named plugin is known to be sound."""
        self.named.plugin_class()
        return self.base.plugin_class()

    def build(self, config: PluginConfig) -> Any:
        """The base, which is told the name and the options of the other plugin."""
        assert isinstance(config, BoundConfig)
        return self.base.build(config.unbound())


def _mark(options: type[PluginConfig], name: str) -> PluginRef | None:
    """The mark of an option that names another plugin; None for other options."""
    info = options.model_fields.get(name)
    return next((mark for mark in info.metadata if isinstance(mark, PluginRef)), None) if info is not None else None


def _load(path: str, entry: PluginEntry) -> Any:
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except _IMPORT_FAILURES as error:
        hint = f"; try: pip install 'instax3d[{entry.spec.extra}]'" if entry.spec.extra else ""
        raise BrokenPluginError(
            f"{entry._label()} cannot be imported from {path} ({type(error).__name__}: {error}){hint}"
        ) from error


_LOADING: ContextVar["tuple[Registry, Provider] | None"] = ContextVar("_LOADING", default=None)
"""While a module is loaded that announces plugins: the registry that asked for it, and what it is to that."""


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
        provider, before = Provider(point.name, distribution, version), self.entries
        loading = _LOADING.set((self, provider))
        try:
            module = point.load()
            registered = [entry for entry in self.entries if entry not in before]
            provider = replace(provider, api=_api_of(point, module))
            self.entries = [replace(e, provider=provider) if e in registered else e for e in self.entries]
            specs = self._specs(point, name, module)
            assets, converters, commands = self._assets(name), self._converters(name), self._commands(name)
            if not (specs or assets or converters or commands or registered):
                raise LookupError(
                    f"{point.value} announces nothing: it needs a function marked @hookimpl that yields something, "
                    "such as instax3d_plugins, or in a file under development a class marked @instax3d.register"
                )
        except _IMPORT_FAILURES as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            if os.environ.get("INSTAX3D_STRICT_PLUGINS"):
                raise
            self.entries = before
            self.providers.append(replace(provider, error=error))
            return
        finally:
            _LOADING.reset(loading)
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

    def _specs(self, point: EntryPoint, name: str, module: object) -> list[PluginSpec]:
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
        own = [each for each in self.entries if each.registered is not None and _place(each) == _place(entry)]
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
        """All plugins of one kind, bound names last (`PluginSpec.binds`)."""
        own = [entry for entry in self.entries if entry.spec.kind is kind]
        return [*own, *self._bound(own)]

    def _bound(self, own: list[PluginEntry]) -> Iterator[BoundEntry]:
        taken = {entry.spec.name for entry in own}
        for base in own:
            try:
                mark = _mark(base.config_class(), base.spec.binds) if base.spec.binds else None
            except BrokenPluginError:
                continue  # `plugins check` reports it
            if mark is None or mark.kind is base.spec.kind:
                continue
            named = [entry for entry in self.plugins(mark.kind) if entry.spec.name not in taken]
            suitable = [entry for entry in named if mark.accepts(entry.spec.provides)]
            yield from (BoundEntry.of(base, entry) for entry in suitable)
            taken |= {entry.spec.name for entry in suitable}

    @property
    def offered(self) -> list[PluginEntry]:
        """All plugins, in the order of their kinds."""
        return [entry for kind in Kind for entry in self.plugins(kind)]

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


def _api_of(point: EntryPoint, module: object) -> str:
    """The version of the contract that a package was written for, if it can be used with the one that is installed.

    It says so itself: what is said here at its import would always be the version installed now. A module under
    development that only registers classes, as a notebook would, need not say it.

    Raises:
        BrokenPluginError: it is another, or is not stated where it must be.
    """
    if point.dist is not None and point.dist.name == _OWN_DISTRIBUTION:
        return API_VERSION
    stated = getattr(module, API_NAME, None)
    if stated is not None:
        return check_version(stated, API_VERSION, point.value)
    if point.dist is None and not _has_hooks(module):
        return API_VERSION
    raise BrokenPluginError(
        f'{point.value} does not say which plugin API it targets; add {API_NAME} = "{API_VERSION}" to it'
    )


def _place(entry: PluginEntry) -> tuple[str, str]:
    """Where a registered class is defined: its file, which may be loaded under several names, else its module."""
    module, _, name = entry.spec.target.partition(":")
    return getattr(sys.modules.get(module), "__file__", None) or module, name


def _has_hooks(module: object) -> bool:
    functions = (value for value in vars(module).values() if isroutine(value))
    return any(hasattr(function, f"{hookimpl.project_name}_impl") for function in functions)


def _origin(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("(development)", "0")


@cache
def registry() -> Registry:
    """The installed plugins, read once, and those given to `register`.

    Environment variables: ``INSTAX3D_DISABLE_PLUGINS=a,b`` leaves out entry points by name;
    ``INSTAX3D_DEV_PLUGINS=my_package.plugin,my_folder/mine.py`` adds registration modules and files that are not
    installed (see `instax3d._development`); ``INSTAX3D_STRICT_PLUGINS=1`` lets a plugin that cannot be loaded raise,
    for its author.

    Raises:
        BrokenPluginError: called by a module while it is loaded to announce plugins.
    """
    if _LOADING.get() is not None:
        raise BrokenPluginError(
            "plugins can only be looked up when all are announced; put what uses them under "
            "if __name__ == '__main__':, or into functions"
        )
    disabled = set(filter(None, os.environ.get("INSTAX3D_DISABLE_PLUGINS", "").split(",")))
    points = [point for point in entry_points(group=GROUP) if point.name not in disabled]
    return Registry([*points, *points_of(os.environ.get("INSTAX3D_DEV_PLUGINS", ""))])


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
def build(kind: Callable[[PluginConfig], K], name: str | Mapping[str, Any], **options: Any) -> K: ...
@overload
def build(kind: Callable[[LossConfig], K], name: str | Mapping[str, Any], **options: Any) -> K: ...
def build(kind: Callable[[Any], K], name: str | Mapping[str, Any], **options: Any) -> K:
    """Make an installed plugin by name, with its defaults except for ``options``: ``build(Renderer, "cpu")``.

    Args:
        kind: the abstract class of the plugin's kind.
        name: as in a config, also ``distribution/name``; or, as in an option that names a plugin, a mapping of
            ``plugin`` to the name and of options to their values.

    Raises:
        UnknownPluginError, AmbiguousPluginError, BrokenPluginError: there is no such plugin, or it cannot be used.
        ConfigError: an option is wrong, or names a plugin that will not do.
    """
    named = NamedOptions.of(name)
    entry = registry().get(kind_of(kind), named.name)
    label = f"{entry.spec.kind.value} {named.name!r}"
    model = entry.config_class()
    try:
        config = model.model_validate({**named.options, **options})
    except ValidationError as error:
        raise ConfigError(f"{label}: {'; '.join(option_problems('', model, error))}") from error
    for problem in reference_problems(label, model, dict(config)):
        raise problem
    plugin: K = entry.build(config)
    return plugin


@dataclass(frozen=True, slots=True)
class NamedOptions:
    """A plugin's name and the options that differ from its defaults."""

    name: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, value: str | Mapping[str, Any]) -> "NamedOptions":
        """Of ``NAME`` or ``{plugin: NAME, option: value, …}``.

        Raises:
            ConfigError: the mapping names no plugin.
        """
        if isinstance(value, str):
            return cls(value, {})
        if not isinstance(value.get("plugin"), str):
            raise ConfigError(f"{dict(value)} names no plugin; write NAME or {{plugin: NAME, option: value}}")
        return cls(value["plugin"], {key: inner for key, inner in value.items() if key != "plugin"})


@dataclass(frozen=True, slots=True)
class Reference(NamedOptions):
    """What an option says that names another plugin."""

    mark: PluginRef


def named_kind(options: type[PluginConfig], option: str) -> Kind | None:
    """The kind of plugin that an option names; None where it is no such option, or there is none."""
    mark = _mark(options, option)
    return None if mark is None else mark.kind


def references(config: PluginConfig) -> Mapping[str, Reference]:
    """Options that name another plugin, with what they say; those that are None are left out."""
    return dict(_references(type(config), dict(config)))


def _references(model: type[PluginConfig], values: Mapping[str, Any]) -> Iterator[tuple[str, Reference]]:
    """`references` of options that may not have been checked; what names no plugin is left out."""
    for option, info in model.model_fields.items():
        mark, value = _mark(model, option), values.get(option, info.default)
        if mark is None or not (isinstance(value, str) or (isinstance(value, Mapping) and "plugin" in value)):
            continue
        named = NamedOptions.of(value)
        yield option, Reference(named.name, named.options, mark)


def named_plugins(
    where: str, config: PluginConfig, above: tuple[PluginEntry, ...] = ()
) -> Iterator[tuple[str, PluginEntry, PluginConfig]]:
    """The plugins that the options of a checked config name, and that theirs name, each with its key and options.

    Args:
        where: the key of the plugin whose options ``config`` are.
        above: plugins that were named on the way here; one that names itself is not followed again.
    """
    for option, reference in references(config).items():
        entry = registry().get(reference.mark.kind, reference.name)
        inner = entry.config_class().model_validate(reference.options)
        if entry not in above:
            yield f"{where}.{option}", entry, inner
            yield from named_plugins(f"{where}.{option}", inner, (*above, entry))


def reference_problems(
    where: str,
    model: type[PluginConfig],
    values: Mapping[str, Any],
    origin: Callable[[str], str] = lambda key: "",
    above: tuple[PluginEntry, ...] = (),
) -> Iterator[Instax3DError]:
    """What is wrong with the plugins that options name.

    They may not be installed, lack a capability that is needed, or have other options than those that are given.

    Args:
        where: the key of the plugin that has the options.
        model: the class of its options.
        values: these, whether or not ``model`` accepts them.
        origin: where the value of a key came from, to be added to a sentence.
    """
    plugins = registry()
    for option, reference in _references(model, values):
        key, mark = f"{where}.{option}", reference.mark
        try:
            entry = plugins.get(mark.kind, reference.name, where=key)
            inner = entry.config_class()
        except Instax3DError as error:
            yield error
            continue
        if not mark.accepts(entry.spec.provides):
            suitable = [e.spec.name for e in plugins.plugins(mark.kind) if mark.accepts(e.spec.provides)]
            yield IncompatiblePipelineError(
                f"{key}: {mark.kind.value} {reference.name!r} does not provide {mark}; "
                f"these do: {', '.join(suitable) or 'none is installed'}"
            )
        try:
            inner.model_validate(reference.options)
        except ValidationError as error:
            yield ConfigError("\n".join(option_problems(key, inner, error, origin)))
        if entry not in above:
            yield from reference_problems(key, inner, reference.options, origin, (*above, entry))


def option_problems(
    where: str, model: type[PluginConfig], error: ValidationError, origin: Callable[[str], str] = lambda key: ""
) -> Iterator[str]:
    """A sentence for each option that is not as ``model`` says.

    Args:
        where: the key of the plugin whose options they are; empty for none.
        origin: where the value of a key came from, to be added to a sentence.
    """
    for item in error.errors(include_url=False):
        key = ".".join([*filter(None, [where]), *map(str, item["loc"])])
        name = str(item["loc"][-1]) if item["loc"] else ""
        if item["type"] == "extra_forbidden" and name in model.renamed:
            message = f"this option is now called {model.renamed[name]!r}"
        elif item["type"] == "extra_forbidden":
            guess = did_you_mean(name, model.model_fields)
            message = f"no such option{guess} there are: {', '.join(model.model_fields) or 'none'}"
        else:
            message = f"{item['msg']}, got {item['input']!r}"
        yield f"{key}: {message}{origin(key)}"


P = TypeVar("P", bound=type)


def _several(names: Iterable[str]) -> frozenset[str]:
    """A set of names; a string is one name, not its letters."""
    return frozenset([names] if isinstance(names, str) else names)


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
    reads: tuple[Datum, ...] = ...,
    makes: Datum | None = ...,
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
    reads: tuple[Datum, ...] = ...,
    makes: Datum | None = ...,
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
    reads: tuple[Datum, ...] = (),
    makes: Datum | None = None,
) -> P | Callable[[P], P]:
    """Offer a class as a plugin by name, in this process and without a package, as from a script or a notebook::

        @instax3d.register(name="mine", config=MyConfig)
        class Mine(instax3d.Densifier[MyConfig]): ...

        instax3d.create("me.jpg", overrides=["densifier=mine"])

    A class that is defined anew, as by running a notebook's cell again, replaces its earlier definition. Other
    processes do not know the plugin, unless ``INSTAX3D_DEV_PLUGINS`` names the file that registers it. The stage cache
    follows the file that defines the class and what that imports; where there is none, as in a notebook, the plugin's
    stages are always run.

    Args:
        plugin: a complete subclass of an abstract kind; left out where this decorates it.
        name: as a config will write it.
        config: the class of its options; a loss's derives from `LossConfig`.
        summary: for ``instax3d plugins list``; by default the first line of the class's docstring.
        needs, provides, metric_info, assets, reads, makes: as in `PluginSpec`.

    Returns:
        The class.

    Raises:
        TypeError: the class is of no kind.
        ValueError: an argument that only another kind can have.
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
            needs=_several(needs),
            provides=_several(provides),
            metric_info=metric_info,
            assets=assets,
            reads=reads,
            makes=makes,
        )
        plugins, provider = _LOADING.get() or (registry(), Provider(target, "(registered)", "0"))
        entry = PluginEntry(spec, provider, (plugin, config))
        entry.plugin_class()
        entry.config_class()
        plugins.add(entry)
        return plugin

    return admit if plugin is None else admit(plugin)
