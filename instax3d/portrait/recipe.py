"""How a portrait was made, kept as it was written. Never imports torch by itself."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from instax3d.config import (
    LISTS,
    OutputConfig,
    PluginChoice,
    RunConfig,
    check_capabilities,
    merge,
    parse_overrides,
    read_documents,
    read_yaml,
    recorded_choice,
    recorded_list,
    recorded_output,
)
from instax3d.errors import ConfigError, IncompatiblePipelineError, did_you_mean
from instax3d.plugin import Kind
from instax3d.registry import K, kind_of

from .layout import CONFIG

_CHANGEABLE = (Kind.RENDERER.value, Kind.LANDMARK_DETECTOR.value, "metrics", "output")
"""Keys of the configuration that still count for a finished portrait."""
_UNDECIDED = frozenset({"photo", "capture", "cpu", "cuda"})
"""Needs that depend on what the portrait was made from, or on this machine: metrics say themselves what is missing."""


class Recipe(Mapping[str, Any]):
    """The configuration of a finished portrait: a record in plain values, from which a part is read when it is needed.

    The plugins that made the portrait may be gone or have changed: only what is asked for is looked up.

    Raises:
        ConfigError: an override names something that no longer counts.
    """

    def __init__(
        self, text: str, values: Mapping[str, Any], overrides: Iterable[str] = (), config: RunConfig | None = None
    ) -> None:
        """Keep a record; most come from `read` and `of`.

        Args:
            text: the config file as it was written.
            values: what it holds.
            overrides: ``key=value`` items over it, such as ``renderer=cpu``.
            config: what it is once checked, if that is known.
        """
        self.text = text
        self._values = dict(values)
        self._config = config
        self.overrides = tuple(overrides)
        for layer in parse_overrides(self.overrides):
            for key in set(layer) - set(_CHANGEABLE):
                guess = did_you_mean(key, _CHANGEABLE)
                raise ConfigError(
                    f"{key} has no effect on a finished portrait{guess} these can be changed: {', '.join(_CHANGEABLE)}"
                )

    @classmethod
    def of(cls, config: RunConfig) -> "Recipe":
        """The record of a run."""
        return cls(config.to_yaml(), config.to_dict(), config=config)

    @classmethod
    def read(cls, folder: Path, overrides: Iterable[str] = ()) -> "Recipe":
        """The record in a result folder.

        Raises:
            ConfigError: it cannot be read, or an override names something that no longer counts.
        """
        path = folder / CONFIG
        values = read_yaml(path)
        return cls(path.read_bytes().decode("utf-8"), values, overrides)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def config(self) -> RunConfig:
        """The whole configuration, checked when it is first asked for.

        Raises:
            ConfigError: a plugin or an option is not there any more.
        """
        if self._config is None:
            config = merge([*read_documents("standard", None), (self._values, CONFIG)], self.overrides)
            check_capabilities(config)
            self._config = config
        return self._config

    def choice(self, kind: Kind, *, device: str = "cpu") -> PluginChoice:
        """The plugin of one slot.

        Raises:
            ConfigError: it is not installed, or its options are wrong; says how to choose another one.
        """
        try:
            return recorded_choice(self, kind, self.overrides, device=device)
        except ConfigError as error:
            raise ConfigError(
                f"{error}\nthe portrait's own {kind.value} cannot be used here; choose another one with "
                f"{kind.value}=NAME{', or renderer=auto' if kind is Kind.RENDERER else ''}"
            ) from error

    def build(self, kind: Callable[[Any], K], *, device: str = "cpu") -> K:
        """The plugin of one slot, made: ``recipe.build(Renderer)``.

        Raises:
            ConfigError: see `choice`.
            BrokenPluginError: it cannot be imported.
        """
        plugin: K = self.choice(kind_of(kind), device=device).build()
        return plugin

    def metrics(self) -> tuple[tuple[PluginChoice, ...], dict[str, str]]:
        """The metrics that can be measured here, and of the others why not.

        Raises:
            ConfigError: one that an override names is not there, or needs what the landmark detector does not provide;
                or that detector cannot be used.
        """
        choices, missing = recorded_list(self, LISTS["metrics"], self.overrides)
        detector = self.choice(Kind.LANDMARK_DETECTOR).entry.spec
        usable = []
        for choice in choices:
            lacking = sorted(choice.entry.spec.needs - detector.provides - _UNDECIDED)
            if not lacking:
                usable.append(choice)
                continue
            reason = f"it needs {', '.join(lacking)}, which landmark_detector={detector.name} does not provide"
            if any("metrics" in layer for layer in parse_overrides(self.overrides)):
                raise IncompatiblePipelineError(f"{choice.name}: {reason}; choose another detector, or leave it out")
            missing[choice.name] = reason
        return tuple(usable), missing

    @property
    def changes_pictures(self) -> bool:
        """Whether an override chooses another renderer or other pictures than the maker's."""
        return any({"renderer", "output"} & set(layer) for layer in parse_overrides(self.overrides))

    @property
    def output(self) -> OutputConfig:
        """What the result folder shows.

        Raises:
            ConfigError: a value cannot be used.
        """
        return recorded_output(self, self.overrides)
