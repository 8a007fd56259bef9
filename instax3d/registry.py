"""Finds plugins through entry points, keeps the broken ones aside, imports the rest only when they are built."""

import difflib
import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import pluggy
from pydantic import ValidationError

from .errors import AmbiguousPluginError, AssetError, BrokenPluginError, ConfigError, UnknownPluginError
from .plugin import API_VERSION, GROUP, Asset, AssetConverter, CommandSpec, HookSpecs, Kind, PluginConfig, PluginSpec

# What a third party's import may raise and must not take the program down with; SystemExit because packages do it.
_IMPORT_FAILURES = (Exception, SystemExit)


@dataclass(frozen=True, slots=True)
class Provider:
    """One entry point: the distribution it came from and, if it could not be used, why."""

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

    @property
    def qualified_name(self) -> str:
        """``distribution/name``, unique also where two packages offer the same name."""
        return f"{self.provider.distribution}/{self.spec.name}"

    def config_class(self) -> type[PluginConfig]:
        """The plugin's options; imports its torch-free config module.

        Raises:
            BrokenPluginError: it cannot be imported or is no `PluginConfig`.
        """
        found = _load(self.spec.config, self)
        if not (isinstance(found, type) and issubclass(found, PluginConfig)):
            raise BrokenPluginError(
                f"{self._label()}: {self.spec.config} is no subclass of instax3d.plugin.PluginConfig"
            )
        return found

    def plugin_class(self) -> type[Any]:
        """The implementation; imports it and all it needs.

        Raises:
            BrokenPluginError: it cannot be imported or does not implement its kind.
        """
        from .interfaces import KINDS  # imports torch

        found = _load(self.spec.target, self)
        kind = KINDS[self.spec.kind]
        if not (isinstance(found, type) and issubclass(found, kind)):
            raise BrokenPluginError(f"{self._label()}: {self.spec.target} is no subclass of {kind.__name__}")
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise BrokenPluginError(f"{self._label()}: {self.spec.target} does not implement {', '.join(missing)}")
        return found

    def build(self, config: PluginConfig) -> Any:
        """The plugin, made from its validated config."""
        return self.plugin_class()(config)

    def missing_imports(self) -> list[str]:
        """Names in ``spec.imports`` that cannot be imported here."""
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
    """The plugins of a set of entry points. Use `registry` for those that are installed."""

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
        """What the package ``name`` gives to a hook."""
        hooks = getattr(self._manager.hook, hook).get_hookimpls()
        return [item for h in hooks if h.plugin_name == name for item in cast(Iterable[Any], h.function())]

    def _assets(self, name: str) -> dict[str, Asset]:
        found: dict[str, Asset] = {}
        for asset in self._yielded("instax3d_assets", name):
            if not isinstance(asset, Asset):
                raise TypeError(f"instax3d_assets of {name} gave {asset!r}, which is no Asset")
            # two packages may describe one asset, if they agree
            if {**self.assets, **found}.get(asset.name, asset) != asset:
                raise RuntimeError(f"asset {asset.name!r} is described otherwise by another package")
            found[asset.name] = asset
        return found

    def _converters(self, name: str) -> dict[str, AssetConverter]:
        found: dict[str, AssetConverter] = {}
        for converter in self._yielded("instax3d_converters", name):
            if not isinstance(converter, AssetConverter):
                raise TypeError(f"instax3d_converters of {name} gave {converter!r}, which is no AssetConverter")
            if converter.name in self.converters or converter.name in found:
                raise RuntimeError(f"the conversion {converter.name!r} is offered by another package already")
            found[converter.name] = converter
        return found

    def _commands(self, name: str) -> dict[str, CommandSpec]:
        found: dict[str, CommandSpec] = {}
        for command in self._yielded("instax3d_commands", name):
            if not isinstance(command, CommandSpec):
                raise TypeError(f"instax3d_commands of {name} gave {command!r}, which is no CommandSpec")
            if command.name in self.commands or command.name in found:
                raise RuntimeError(f"the command {command.name!r} is offered by another package already")
            found[command.name] = command
        return found

    def asset(self, name: str) -> Asset:
        """The asset of that name.

        Raises:
            AssetError: no package knows it; the message lists what there is.
        """
        if name in self.assets:
            return self.assets[name]
        near = difflib.get_close_matches(name, self.assets, 1, 0.5)
        guess = f"; did you mean {near[0]!r}?" if near else ";"
        raise AssetError(f"unknown asset {name!r}{guess} there are: {', '.join(sorted(self.assets)) or 'none'}")

    def _specs(self, point: EntryPoint, name: str) -> list[PluginSpec]:
        self._manager.register(point.load(), name=name)
        self._manager.check_pending()  # a misspelt hook is an error, not silence
        found = self._yielded("instax3d_plugins", name)
        if not found:
            raise LookupError(
                f"{point.value} announces no plugin: it needs a function instax3d_plugins marked @hookimpl"
            )
        for spec in found:
            if not isinstance(spec, PluginSpec):
                raise TypeError(f"instax3d_plugins of {point.value} gave {spec!r}, which is no PluginSpec")
            if spec.api != API_VERSION:
                raise RuntimeError(
                    f"{spec.name!r} speaks plugin API {spec.api}, instax3d speaks {API_VERSION}; update the package"
                )
        return found

    def plugins(self, kind: Kind) -> list[PluginEntry]:
        """All plugins of one kind."""
        return [entry for entry in self.entries if entry.spec.kind is kind]

    @property
    def broken(self) -> list[Provider]:
        """Entry points that could not be used."""
        return [provider for provider in self.providers if provider.error is not None]

    def get(self, kind: Kind, name: str, where: str = "") -> PluginEntry:
        """The plugin of that name, or of that ``distribution/name``; ``where`` is named in the error.

        Raises:
            UnknownPluginError: there is none; the message lists what there is, and the broken packages.
            AmbiguousPluginError: two packages offer it.
        """
        pool = self.plugins(kind)
        hits = [entry for entry in pool if name in (entry.spec.name, entry.qualified_name)]
        if len(hits) == 1:
            return hits[0]
        at = f" (at {where})" if where else ""
        if hits:
            choices = ", ".join(sorted(entry.qualified_name for entry in hits))
            raise AmbiguousPluginError(
                f"{kind.value} {name!r}{at} is offered by more than one package; write one of: {choices}"
            )
        renamed = [entry.spec.name for entry in pool if name in entry.spec.formerly]
        if renamed:
            raise UnknownPluginError(f"{kind.value} {name!r}{at} is now called {renamed[0]!r}")
        near = difflib.get_close_matches(name, [entry.spec.name for entry in pool], 1, 0.5)
        guess = f"; did you mean {near[0]!r}?" if near else ";"
        installed = ", ".join(f"{entry.spec.name} ({entry.provider})" for entry in pool) or "none"
        lines = [f"unknown {kind.value} {name!r}{at}{guess} installed: {installed}"]
        lines += [f"  not loaded: {p.entry_point} of {p} ({p.reason})" for p in self.broken]
        raise UnknownPluginError("\n".join(lines))


def _origin(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("(development)", "0")


@cache
def registry() -> Registry:
    """The installed plugins, read once.

    ``INSTAX3D_DISABLE_PLUGINS=a,b`` leaves entry points out; ``INSTAX3D_DEV_PLUGINS=my.module`` adds a registration
    module that is not installed; ``INSTAX3D_STRICT_PLUGINS=1`` lets a broken plugin raise, for its author.
    """
    disabled = set(filter(None, os.environ.get("INSTAX3D_DISABLE_PLUGINS", "").split(",")))
    found = [point for point in entry_points(group=GROUP) if point.name not in disabled]
    modules = filter(None, os.environ.get("INSTAX3D_DEV_PLUGINS", "").split(","))
    return Registry([*found, *(EntryPoint(module, module, GROUP) for module in modules)])


K = TypeVar("K")


def kind_of(kind: Callable[[Any], object]) -> Kind:
    """The kind whose abstract class in `instax3d.interfaces` this is.

    Raises:
        TypeError: it is none.
    """
    found = getattr(kind, "kind", None)
    if not isinstance(found, Kind):
        raise TypeError(f"{kind!r} is not one of the abstract classes of instax3d.interfaces, such as Renderer")
    return found


def build(kind: Callable[[Any], K], name: str, **options: Any) -> K:
    """Make an installed plugin by name, with its defaults except for ``options``: ``build(Renderer, "cpu")``.

    Args:
        kind: the abstract class of the plugin's kind.
        name: as in a config, also ``distribution/name``.

    Raises:
        UnknownPluginError, AmbiguousPluginError, BrokenPluginError: it cannot be had.
        ConfigError: an option is wrong.
    """
    entry = registry().get(kind_of(kind), name)
    try:
        config = entry.config_class().model_validate(options)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise ConfigError(f"{entry.spec.kind.value} {name!r}: {problems}") from error
    plugin: K = entry.build(config)
    return plugin
