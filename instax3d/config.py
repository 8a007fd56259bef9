"""YAML layers and overrides in, one validated `RunConfig` out. Holds names and plain values; never imports torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, overload

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError

from . import _yaml
from ._migrations import CONFIG_FORMAT, MOVED, migrated
from .errors import ConfigError, IncompatiblePipelineError, Instax3DError, did_you_mean
from .plugin import LIGHTNING, Kind, LossConfig, PluginConfig
from .registry import (
    K,
    PluginEntry,
    kind_of,
    named_kind,
    named_plugins,
    option_problems,
    reference_problems,
    registry,
)

M = TypeVar("M", bound=PluginConfig)
Source = Literal["photo", "capture"]
"""What a portrait can be made from; also a capability that a view generator may need."""


def source_kind(path: Path) -> Source:
    """What a path is taken for: a folder or a JSON file is a capture, any other file a photo."""
    return "capture" if path.is_dir() or path.suffix.lower() == ".json" else "photo"


LISTS: Mapping[str, Kind] = {
    "losses": Kind.LOSS,
    "stages": Kind.STAGE,
    "callbacks": Kind.CALLBACK,
    "metrics": Kind.METRIC,
}
"""The keys under which any number of plugins of a kind are listed."""

SLOTS: Mapping[str, Kind] = {
    kind.value: kind for kind in Kind if kind not in (*LISTS.values(), Kind.CLIP_SOURCE, Kind.HEAD_MODEL)
}
"""The slots that every configuration fills, by their key."""

_WHEN = "when"
FORMAT = "format"
"""The key of a config file's format number."""

PHOTO_NEEDS = frozenset({"landmarks68"})
"""What the quality check of photos needs from the landmark detector."""

AUTOMATIC = "auto"
"""In place of a renderer's name: the renderer that suits the device."""


class TrainingConfig(PluginConfig):
    """How the Gaussians are optimized."""

    renamed: ClassVar[Mapping[str, str]] = MOVED["training"]

    iterations: PositiveInt = 1000
    """Optimization steps; each renders one view."""
    position_decay: float = Field(0.01, gt=0, le=1)
    """Factor by which the learning rate of the means has fallen at the end (paper: 0.01)."""
    rate_decay: float = Field(0.1, gt=0, le=1)
    """The same for all other learning rates (3DGS and the paper: 1)."""
    half_resolution: float = Field(0.0, ge=0, lt=1)
    """Share of the iterations, from the beginning, that run at half the image size."""
    photo_share: float = Field(0.0, ge=0, lt=1)
    """Share of the iterations that render the photo itself; 0 renders all views equally often."""


class TrainerConfig(PluginConfig):
    """How Lightning runs the optimization. `docs/architecture.md` says why there is no precision to choose."""

    detect_anomaly: bool = False
    """Whether a gradient that is not a number ends the run with the trace of the operation that made it: for finding
    the mistake in a loss or a representation. Slow."""


class OutputConfig(PluginConfig):
    """What the result folder shows."""

    turntable_frames: PositiveInt = 90
    """Frames of ``turntable.mp4``: one turn at 30 frames a second."""
    sheet_views: PositiveInt = 11
    """Images in ``turntable.png``."""


COMMAND_LINE = "command line"
"""The origin of values that are given as overrides."""

_SECTIONS: Mapping[str, type[PluginConfig]] = {
    "training": TrainingConfig,
    "trainer": TrainerConfig,
    "output": OutputConfig,
}
_PLAIN = ("seed", "device")
_KEYS = (*SLOTS, *LISTS, *_SECTIONS, *_PLAIN)


@dataclass(frozen=True, slots=True)
class PluginChoice:
    """A slot's plugin and its validated options."""

    entry: PluginEntry
    config: PluginConfig
    written: str = ""
    """The name that the configuration gives it, where that is ``distribution/name``."""

    @property
    def name(self) -> str:
        """A name that can be read back: as it was written, or the shortest that means this plugin alone."""
        return self.written or registry().name_of(self.entry)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the name as ``plugin``, and all options."""
        return {"plugin": self.name, **self.config.model_dump(mode="json")}

    def build(self) -> Any:
        """The plugin with these options; imports what it needs.

        Raises:
            BrokenPluginError: it cannot be imported or does not implement its kind.
        """
        return self.entry.build(self.config)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A checked configuration: every name is known, every option valid, and the plugins fit together."""

    choices: Mapping[Kind, PluginChoice]
    training: TrainingConfig
    output: OutputConfig
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    listed: Mapping[Kind, tuple[PluginChoice, ...]] = field(default_factory=dict)
    """The losses, stages, callbacks and metrics, each in the order in which they act."""
    automatic_renderer: bool = False
    """Whether the renderer was chosen by the device."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each value that is not a plugin's default came from, by dotted key."""
    notes: tuple[str, ...] = ()
    """What the user should know: options that were dropped, or that have no effect."""

    @property
    def metrics(self) -> tuple[PluginChoice, ...]:
        """The metrics of the finished portrait, in this order."""
        return self.listed.get(Kind.METRIC, ())

    @property
    def steering(self) -> tuple[PluginChoice, ...]:
        """The callbacks that hand Lightning something, which may change the construction."""
        return tuple(each for each in self.listed.get(Kind.CALLBACK, ()) if LIGHTNING in each.entry.spec.provides)

    @property
    def plugins(self) -> Iterator[tuple[str, PluginChoice]]:
        """Every plugin of the run, with its key: ``densifier``, ``losses.alpha``; listed again, ``losses.alpha#2``."""
        for kind, choice in self.choices.items():
            yield kind.value, choice
        for key, kind in LISTS.items():
            names = [choice.entry.spec.name for choice in self.listed.get(kind, ())]
            for index, choice in enumerate(self.listed.get(kind, ())):
                before = names[:index].count(names[index])
                yield f"{key}.{names[index]}{f'#{before + 1}' if before else ''}", choice

    def build(self, kind: Callable[[PluginConfig], K]) -> K:
        """The plugin chosen for a slot, with its options: ``config.build(Renderer)``; imports what it needs.

        Args:
            kind: the slot's abstract class in `instax3d.interfaces`.

        Raises:
            BrokenPluginError: it cannot be imported or does not implement its kind.
        """
        plugin: K = self.choices[kind_of(kind)].build()
        return plugin

    @overload
    def build_listed(self, kind: Callable[[PluginConfig], K]) -> list[K]: ...
    @overload
    def build_listed(self, kind: Callable[[LossConfig], K]) -> list[K]: ...
    def build_listed(self, kind: Callable[[Any], K]) -> list[K]:
        """All plugins that are listed of a kind, with their options: ``config.build_listed(Loss)``.

        Raises:
            BrokenPluginError: one cannot be imported or does not implement its kind.
        """
        return [choice.build() for choice in self.listed.get(kind_of(kind), ())]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, all defaults included; reading them back gives the same configuration."""
        doc: dict[str, Any] = {FORMAT: CONFIG_FORMAT, "seed": self.seed, "device": self.device}
        for kind, choice in self.choices.items():
            doc[kind.value] = choice.to_dict()
        for key, kind in LISTS.items():
            doc[key] = [choice.to_dict() for choice in self.listed.get(kind, ())]
        doc["training"] = self.training.model_dump(mode="json")
        doc["trainer"] = self.trainer.model_dump(mode="json")
        doc["output"] = self.output.model_dump(mode="json")
        return doc

    def resolved_for(self, device: str) -> "RunConfig":
        """The same for a known device: an automatic renderer becomes the one that suits it."""
        if not self.automatic_renderer:
            return self
        entry = _renderer_for(device)
        choice = PluginChoice(entry, entry.config_class()())
        return replace(self, choices={**self.choices, Kind.RENDERER: choice})

    def to_yaml(self) -> str:
        """`to_dict` as a config file."""
        return _yaml.dump(self.to_dict())


@dataclass(slots=True)
class Layers:
    """Values merged so far, the origin of each, and notes about what the merging dropped."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, layer: Mapping[str, Any], origin: str) -> None:
        """Lay ``layer`` over the values. A slot that changes its plugin starts from that plugin's own defaults.

        A list of plugins takes the place of the one before; ``losses.alpha.weight=0.2`` changes, or adds, one of them,
        and ``losses.alpha=null`` leaves it out.
        """
        for key, value in layer.items():
            if key in LISTS:
                self._list(key, value, origin)
                continue
            if key in SLOTS and isinstance(value, str):
                value = {"plugin": value}
            old = self.values.get(key)
            if key in SLOTS and isinstance(old, dict) and isinstance(value, dict):
                self._drop_options(key, SLOTS[key], old, value, origin)
            self._set([str(key)], value, origin)

    def _list(self, key: str, value: Any, origin: str) -> None:
        """Lists are kept as mappings from the names of their plugins to plugin and options."""
        if isinstance(value, list):
            self._forget_origins(key)
            self.values[key] = {}
            value = _by_name(value)
        elif isinstance(value, dict):
            for name in [name for name, body in value.items() if body is None]:
                self._at([key]).pop(name, None)
                self._forget_origins(f"{key}.{name}")
            bodies = {name: {} if body is True else body for name, body in value.items() if body is not None}
            value = {
                name: {"plugin": name, **self._at([key]).get(name, {}), **body} if isinstance(body, dict) else body
                for name, body in bodies.items()
            }
        self._set([key], value, origin)

    def _drop_options(self, key: str, kind: Kind, old: dict[str, Any], new: Mapping[str, Any], origin: str) -> None:
        """Empty ``old``, a plugin with its options at ``key``, if ``new`` names another plugin."""
        if "plugin" not in new or _same_plugin(kind, new["plugin"], old.get("plugin")):
            return
        dropped = sorted(set(old) - {"plugin"})
        if dropped:
            self.notes.append(
                f"{key}: {new['plugin']} ({origin}) replaces {old.get('plugin')}, "
                f"whose options were dropped: {', '.join(dropped)}"
            )
        old.clear()
        self._forget_origins(key)

    def _forget_origins(self, key: str) -> None:
        for name in [name for name in self.origins if f"{name}.".startswith(f"{key}.")]:
            del self.origins[name]

    def _set(self, path: list[str], value: Any, origin: str) -> None:
        key = ".".join(path)
        parent = self._at(path[:-1])
        old = parent.get(path[-1])
        kind = self._named_at(path) if isinstance(old, str | dict) else None
        if kind is not None and isinstance(old, str) and isinstance(value, Mapping):
            old = parent[path[-1]] = {"plugin": old}
            self.origins[f"{key}.plugin"] = self.origins.pop(key, origin)
        if kind is not None and isinstance(old, dict):
            value = {"plugin": value} if isinstance(value, str) else value
            if isinstance(value, Mapping):
                self._drop_options(key, kind, old, value, origin)
        if isinstance(value, Mapping):
            if old is not None and not isinstance(old, dict):
                self.notes.append(f"{key}: options ({origin}) replace {old!r} ({self.origins.get(key, origin)})")
                self._forget_origins(key)
                del parent[path[-1]]
            parent.setdefault(path[-1], {})
            for inner_key, inner in sorted(value.items(), key=lambda item: item[0] != "plugin"):
                self._set([*path, str(inner_key)], inner, origin)
            return
        if isinstance(old, dict):
            if old:
                self.notes.append(f"{key}: {value!r} ({origin}) replaces the options {', '.join(sorted(old))}")
            self._forget_origins(key)
        parent[path[-1]] = value
        self.origins[key] = origin

    def _named_at(self, path: list[str]) -> Kind | None:
        """The kind of plugin that the option at ``path`` names; None where it is no such option."""
        kind: Kind | None = SLOTS.get(path[0]) or LISTS.get(path[0])
        start = 1 if path[0] in SLOTS else 2
        for depth in range(start, len(path)):
            body = self._at(path[:depth])
            found = registry().find(kind, str(body.get("plugin"))) if kind is not None else []
            if len(found) != 1:
                return None
            try:
                kind = named_kind(found[0].config_class(), path[depth])
            except Instax3DError:
                return None  # reported where the plugin is chosen
        return kind if len(path) > start else None

    def from_origin(self, key: str) -> str:
        """Where a value came from, to be added to a sentence."""
        names = (name for name in self.origins if f"{name}.".startswith(f"{key}."))
        return f" (from {self.origins.get(next(names, ''), 'defaults')})"

    def _at(self, path: list[str]) -> dict[str, Any]:
        node = self.values
        for key in path:
            inner = node.get(key)
            if not isinstance(inner, dict):
                inner = node[key] = {}
            node = inner
        return node


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    """A list of plugins as a mapping; one that is listed again gets a number."""
    named: dict[str, Any] = {}
    for item in items:
        body = {"plugin": item} if isinstance(item, str) else item
        name = str(body["plugin"]) if isinstance(body, dict) and "plugin" in body else str(item)
        count = sum(key.partition("#")[0] == name for key in named)
        named[f"{name}#{count + 1}" if count else name] = body
    return named


def _same_plugin(kind: Kind, one: Any, other: Any) -> bool:
    """Whether two names can mean the same plugin, as ``instax3d/absgs`` and ``absgs`` do."""
    if one == other:
        return True
    if not (isinstance(one, str) and isinstance(other, str)):
        return False
    others = registry().find(kind, other)
    return any(entry in others for entry in registry().find(kind, one))


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    names = (item.name for item in files("instax3d").joinpath("configs").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and name != "base.yaml")


def preset_path(name: str) -> Path:
    """The YAML file of a preset.

    Raises:
        ConfigError: there is no preset of that name.
    """
    if name not in preset_names():
        guess = did_you_mean(name, preset_names())
        raise ConfigError(f"unknown preset {name!r}{guess} there are: {', '.join(preset_names())}")
    return Path(str(files("instax3d").joinpath("configs", f"{name}.yaml")))


def read_yaml(path: Path) -> dict[str, Any]:
    """A config file as a mapping, its ``extends`` still unresolved.

    Raises:
        ConfigError: it cannot be read, or is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the config file {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        doc = _yaml.load(text) or {}
    except _yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {_yaml.explain(error)}") from error
    if not isinstance(doc, dict):
        raise ConfigError(f"{path} must hold keys such as 'densifier: absgs', but holds {type(doc).__name__}")
    return {str(key): value for key, value in doc.items()}


def _file_layers(path: Path, seen: tuple[Path, ...] = ()) -> list[tuple[dict[str, Any], str]]:
    """A file and those it extends, the most basic first."""
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path} extends itself (through {', '.join(str(p) for p in seen)})")
    doc = read_yaml(path)
    base = doc.pop("extends", None)
    below = []
    if base is not None:
        below = _file_layers(_extended(str(base), path.parent), (*seen, path))
    return [*below, (doc, path.name)]


def _extended(name: str, folder: Path) -> Path:
    """What ``extends: name`` means: that file or ``name.yaml`` in the same folder, else the preset of that name."""
    if Path(name).suffix:
        return folder / name
    neighbor = folder / f"{name}.yaml"
    return neighbor if neighbor.is_file() else preset_path(name)


def parse_option(text: str) -> tuple[str, Any]:
    """``key=value`` as the key and its value, which is read as YAML.

    Raises:
        ConfigError: it is not of that form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key or not all(key.split(".")):
        raise ConfigError(
            f"cannot understand {text!r}: options are written key=value, as in densifier.max_gaussians=30000"
        )
    try:
        return key, _yaml.load(value)
    except _yaml.YAMLError as error:
        raise ConfigError(f"the value of {text!r} is not valid YAML: {_yaml.explain(error)}; quote it") from error


def parse_overrides(items: Iterable[str]) -> list[dict[str, Any]]:
    """``key.key=value`` items as nested layers, in the order in which they apply whatever the order given.

    Plugins come first, then whole mappings, then single options. Of items that contradict each other the last wins.

    Raises:
        ConfigError: an item is not of that form.
    """
    layers: list[tuple[int, dict[str, Any]]] = []
    for item in items:
        key, value = parse_option(item)
        for part in reversed(key.split(".")):
            value = {part: value}
        layers.append((0 if _chooses_plugin(value) else 1 + key.count("."), value))
    return [layer for _, layer in sorted(layers, key=lambda pair: pair[0])]


def _chooses_plugin(layer: Mapping[str, Any]) -> bool:
    (slot, value), *_ = layer.items()
    return slot in SLOTS and (isinstance(value, str) or (isinstance(value, dict) and "plugin" in value))


def load_config(
    *,
    preset: str | None = None,
    path: Path | None = None,
    overrides: Iterable[str] = (),
    source: Source | None = None,
) -> RunConfig:
    """Merge preset < file < overrides and check the whole.

    Args:
        preset: name of a preset; ``standard`` where neither it nor ``path`` is given.
        path: a config file, for instance the ``config.yaml`` of an earlier portrait.
        overrides: ``key=value`` items.
        source: what the portrait is made from; chooses among the alternatives under ``when``.

    Raises:
        ConfigError: with all problems, one a line.
    """
    config = read_config(preset=preset, path=path, overrides=overrides, source=source)
    check_capabilities(config, source=source)
    return config


def read_config(
    *,
    preset: str | None = None,
    path: Path | None = None,
    overrides: Iterable[str] = (),
    source: Source | None = None,
) -> RunConfig:
    """`load_config` without checking whether the chosen plugins fit together (`check_capabilities`).

    Raises:
        ConfigError: with all problems, one a line.
    """
    return merge(read_documents(preset, path), overrides, source=source)


Documents = Sequence[tuple[Mapping[str, Any], str]]
"""The contents of config files, each with the file's name; the most basic first."""


def read_documents(preset: str | None, path: Path | None) -> Documents:
    """A preset and a file, with everything that they extend.

    Raises:
        ConfigError: one does not exist, or is not a YAML mapping.
    """
    own = _file_layers(path) if path is not None else []
    if preset is None and len(own) > 1:  # a file that extends nothing lies on the default preset
        return own
    return [*_file_layers(preset_path(preset or "standard")), *own]


def merge(documents: Documents, overrides: Iterable[str], *, source: Source | None = None) -> RunConfig:
    """`read_config` of files that have been read already.

    Raises:
        ConfigError: with all problems, one a line.
    """
    layers = Layers()
    problems: list[str] = []
    for document, origin in documents:
        doc, notes = migrated(document, origin)
        layers.notes += notes
        alternatives = doc.get(_WHEN, {})
        layers.add({key: value for key, value in doc.items() if key != _WHEN}, origin)
        problems += _check_when(alternatives, origin)
        if source is not None and isinstance(alternatives, dict) and isinstance(alternatives.get(source), dict):
            layers.add(alternatives[source], f"{origin}, for a {source}")
    for layer in parse_overrides(overrides):
        layers.add(layer, COMMAND_LINE)
    config = _resolve(layers, problems)
    return replace(config, notes=(*config.notes, *_without_effect(config, source)))


def recorded_choice(
    recipe: Mapping[str, Any], kind: Kind, overrides: Iterable[str] = (), *, device: str = "cpu"
) -> PluginChoice:
    """The plugin of one slot of a portrait's configuration, whatever the rest holds: its plugins may be gone.

    Args:
        recipe: the contents of its ``config.yaml``.
        overrides: ``key=value`` items; those of other slots do not count.
        device: for which an automatic renderer is chosen.

    Raises:
        ConfigError: the plugin is not installed, or its options are wrong.
    """
    layers, problems = _recorded(recipe, kind.value, overrides), list[str]()
    choice = _choose(kind.value, kind, layers.values.get(kind.value), layers, problems)
    if choice is None or problems:
        raise ConfigError("\n".join(problems))
    if kind is Kind.RENDERER and _is_automatic(layers.values[kind.value]):
        entry = _renderer_for(device)
        return PluginChoice(entry, entry.config_class()())
    return choice


def recorded_list(
    recipe: Mapping[str, Any], kind: Kind, overrides: Iterable[str] = ()
) -> tuple[tuple[PluginChoice, ...], dict[str, str]]:
    """The plugins that a portrait's configuration lists of a kind, and why those that cannot be used cannot.

    Raises:
        ConfigError: one that ``overrides`` name cannot be used.
    """
    key = next(key for key, each in LISTS.items() if each is kind)
    layers = _recorded(recipe, key, overrides)
    body = layers.values.get(key, {})
    if not isinstance(body, dict):
        raise ConfigError(f"{key}: must list plugins, as in {key}=[{', '.join(_offered(kind)[:2])}]")
    choices, missing, refused = [], {}, []
    for name, item in body.items():
        problems: list[str] = []
        choice = _choose(f"{key}.{name}", kind, item, layers, problems)
        if choice is not None and not problems:
            choices.append(choice)
        elif layers.from_origin(f"{key}.{name}") == f" (from {COMMAND_LINE})":
            refused += problems
        else:
            missing[name] = "; ".join(problems)
    if refused:
        raise ConfigError("\n".join(refused))
    return tuple(choices), missing


def recorded_output(recipe: Mapping[str, Any], overrides: Iterable[str] = ()) -> OutputConfig:
    """What a portrait's configuration says of its result folder; what this version does not know does not count.

    Raises:
        ConfigError: a value cannot be used, or ``overrides`` name an option that is not there.
    """
    layers, problems = _recorded(recipe, "output", overrides), list[str]()
    values = layers.values.get("output") or {}
    if isinstance(values, dict):
        gone = [key for key in values if key not in OutputConfig.model_fields]
        values = {k: v for k, v in values.items() if k not in gone or layers.origins[f"output.{k}"] == COMMAND_LINE}
    output = _validate("output", OutputConfig, values, layers, problems)
    if output is None:
        raise ConfigError("\n".join(problems))
    return output


def _recorded(recipe: Mapping[str, Any], key: str, overrides: Iterable[str]) -> Layers:
    """One key of a portrait's configuration under overrides."""
    layers = Layers()
    layers.add({key: recipe[key]} if key in recipe else {}, "the portrait's config.yaml")
    for layer in parse_overrides(overrides):
        layers.add({name: value for name, value in layer.items() if name == key}, COMMAND_LINE)
    return layers


def _check_when(alternatives: Any, origin: str) -> list[str]:
    known = get_args(Source)
    if not isinstance(alternatives, dict) or set(alternatives) - set(known):
        return [f"when (in {origin}): must hold only the keys {' and '.join(known)}"]
    return []


def _resolve(layers: Layers, problems: list[str]) -> RunConfig:
    doc = layers.values
    for key in sorted(set(doc) - set(_KEYS)):
        guess = did_you_mean(key, _KEYS)
        known = f" there are: {', '.join(_KEYS)}" if guess == ";" else ""
        problems.append(f"{key}: no such key{layers.from_origin(key)}{guess}{known}")
    choices: dict[Kind, PluginChoice] = {}
    for slot, kind in SLOTS.items():
        choice = _choose(slot, kind, doc.get(slot), layers, problems)
        if choice is not None:
            choices[kind] = choice
    training = _validate("training", TrainingConfig, doc.get("training") or {}, layers, problems)
    trainer = _validate("trainer", TrainerConfig, doc.get("trainer") or {}, layers, problems)
    output = _validate("output", OutputConfig, doc.get("output") or {}, layers, problems)
    listed = {kind: _listed(key, kind, doc.get(key, {}), layers, problems) for key, kind in LISTS.items()}
    problems += _no_objective(listed[Kind.LOSS], doc.get("losses", {}))
    plain = _validate("", _Plain, {key: doc[key] for key in _PLAIN if key in doc}, layers, problems)
    if problems or training is None or trainer is None or output is None or plain is None:
        # Broken packages are listed with every unknown name; once is enough.
        raise ConfigError("\n".join(dict.fromkeys("\n".join(problems).splitlines())))
    return RunConfig(
        choices=choices,
        training=training,
        output=output,
        seed=plain.seed,
        device=plain.device,
        trainer=trainer,
        listed=listed,
        automatic_renderer=_is_automatic(doc.get(Kind.RENDERER.value)),
        origins=dict(layers.origins),
        notes=tuple(layers.notes),
    )


def _no_objective(losses: Sequence[PluginChoice], written: Any) -> list[str]:
    """A sentence where nothing is left to minimize; losses that are wrong themselves have their own."""
    if written == {} or (losses and not any(choice.config.model_dump().get("weight", 1) for choice in losses)):
        offered = ", ".join(_offered(Kind.LOSS)) or "none is installed"
        return [f"losses: there is nothing to minimize; list one of weight above 0, of: {offered}"]
    return []


def _without_effect(config: RunConfig, source: Source | None) -> Iterable[str]:
    """A sentence for each option that was set and does nothing beside the others.

    An option at its default is not worth a word, unless it was written on the command line: the ``config.yaml`` of a
    portrait holds them all.
    """
    parts = [(key, choice.config) for key, choice in config.plugins]
    parts += [(key, inner) for where, options in tuple(parts) for key, _, inner in named_plugins(where, options)]
    ignored = [
        (f"{where}.{name}", options, name, why)
        for where, options in parts
        for name, why in options.ignored_options().items()
    ]
    if source == "capture":
        ignored.append(("training.photo_share", config.training, "photo_share", "a capture holds no photo"))
    for key, options, name, why in ignored:
        origin = config.origins.get(key)
        default = type(options).model_fields[name].get_default(call_default_factory=True)
        if origin == COMMAND_LINE or getattr(options, name) != default:
            yield f"{key}{f' (from {origin})' if origin else ''} has no effect: {why}"


class _Plain(PluginConfig):
    seed: NonNegativeInt = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"


def _is_automatic(body: Any) -> bool:
    return isinstance(body, dict) and body.get("plugin") == AUTOMATIC


def _renderer_for(device: str) -> PluginEntry:
    """The first built-in, else the first renderer, that runs on the device and, on a GPU, needs one."""
    devices = {"cpu", device}
    for entry in registry().plugins(Kind.RENDERER):
        if entry.spec.needs <= devices and (device == "cpu" or device in entry.spec.needs):
            return entry
    raise ConfigError(f"renderer: no installed renderer runs on {device}; install one, or write device=cpu")


def _choose(slot: str, kind: Kind, body: Any, layers: Layers, problems: list[str]) -> PluginChoice | None:
    if not isinstance(body, dict) or not isinstance(body.get("plugin"), str):
        offered = ", ".join(_offered(kind)) or "none is installed"
        problems.append(f"{slot}: no plugin chosen; write {slot}=NAME, one of: {offered}")
        return None
    options = {key: value for key, value in body.items() if key != "plugin"}
    try:
        if kind is Kind.RENDERER and _is_automatic(body):
            if options:
                raise ConfigError(
                    f"{slot}: options ({', '.join(sorted(options))}) need a renderer named, as in {slot}=cpu"
                )
            # Until the device is known, the one for the CPU stands in; see `RunConfig.resolved_for`.
            entry = _renderer_for("cpu")
        else:
            entry = registry().get(kind, body["plugin"], where=slot)
        model = entry.config_class()
        config = _validate(slot, model, options, layers, problems)
        problems += map(str, reference_problems(slot, model, options, layers.from_origin))
    except Instax3DError as error:
        problems.append(str(error))
        return None
    if config is None:
        return None
    written = body["plugin"] if body["plugin"] == entry.qualified_name else ""
    return PluginChoice(entry, config, written)


def _listed(key: str, kind: Kind, body: Any, layers: Layers, problems: list[str]) -> tuple[PluginChoice, ...]:
    """The plugins of a list, each a name or, as in a slot, a plugin with options."""
    if not isinstance(body, dict):
        problems.append(f"{key}: must list plugins, as in {key}=[{', '.join(_offered(kind)[:2])}]")
        return ()
    choices = (_choose(f"{key}.{name}", kind, item, layers, problems) for name, item in body.items())
    return tuple(choice for choice in choices if choice is not None)


def _offered(kind: Kind) -> list[str]:
    return [entry.spec.name for entry in registry().plugins(kind)]


def _validate(where: str, model: type[M], values: Any, layers: Layers, problems: list[str]) -> M | None:
    if not isinstance(values, dict):
        problems.append(f"{where}: must hold options, as in {where}.{next(iter(model.model_fields))}=VALUE")
        return None
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems += option_problems(where, model, error, layers.from_origin)
        return None


def check_capabilities(config: RunConfig, *, source: Source | None = None, device: str | None = None) -> None:
    """Refuse plugins that cannot work together, on this input or on this device.

    The needs of every plugin are compared: those in slots, those in lists, and those that options name, with what the
    input, the device and the plugins in slots and lists provide. ``source`` or ``device`` unknown (None, and
    ``device: auto``) leaves the needs that concern it unchecked.

    Raises:
        IncompatiblePipelineError: naming each plugin, what it needs, and what is there.
    """
    device = device or (None if config.device == "auto" else config.device)
    have = set().union(*(choice.entry.spec.provides for _, choice in config.plugins))
    undecided: set[str] = set()
    if source is None:
        undecided |= set(get_args(Source))
    else:
        have.add(source)
    if device is None:
        undecided |= {"cpu", "cuda"}
    else:
        have |= {"cpu", device}
    needs: dict[str, frozenset[str]] = {}
    problems: list[str] = []
    for label, choice in config.plugins:
        needs[f"{choice.entry.spec.kind.value} {choice.entry.spec.name!r}"] = choice.entry.spec.needs
        for where, entry, _ in named_plugins(label, choice.config):
            needs[f"{entry.spec.kind.value} {entry.spec.name!r} ({where})"] = entry.spec.needs
    if source == "photo":
        needs["a photo"] = PHOTO_NEEDS
    for who, needed in needs.items():
        missing = needed - have - undecided
        if missing:
            problems.append(
                f"{who} needs {', '.join(sorted(missing))}, which nothing here provides; "
                f"the input, the device and the chosen plugins provide: {', '.join(sorted(have)) or 'nothing'}"
            )
    if problems:
        raise IncompatiblePipelineError("\n".join(problems))


@cache
def json_schema() -> dict[str, Any]:
    """JSON schema of a config file with the installed plugins, for editors."""
    slots = {}
    definitions: dict[str, Any] = {}
    for slot, kind in SLOTS.items():
        forms: list[dict[str, Any]] = [{"type": "string", "enum": [e.spec.name for e in registry().plugins(kind)]}]
        for entry in registry().plugins(kind):
            try:
                schema = entry.config_class().model_json_schema(ref_template="#/$defs/{model}")
            except Instax3DError:
                continue  # a broken plugin is reported by `plugins list`; the schema describes the others
            definitions.update(schema.pop("$defs", {}))
            schema["properties"] = {"plugin": {"const": entry.spec.name}, **schema.get("properties", {})}
            forms.append(schema)
        slots[slot] = {"anyOf": forms}
    sections = {name: model.model_json_schema() for name, model in _SECTIONS.items()}
    body = {**slots, **sections, **_Plain.model_json_schema()["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "instax3d run",
        "type": "object",
        "properties": {
            FORMAT: {"type": "integer", "minimum": 0, "maximum": CONFIG_FORMAT},
            "extends": {"type": "string"},
            _WHEN: {
                "type": "object",
                "properties": {s: {"type": "object", "properties": body} for s in get_args(Source)},
            },
            **{key: {"type": ["array", "object"], "items": {"type": ["string", "object"]}} for key in LISTS},
            **body,
        },
        "additionalProperties": False,
        "$defs": definitions,
    }
