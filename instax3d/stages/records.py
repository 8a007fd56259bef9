"""The stages of a run as data, from which cache keys, progress, manifests and plans follow. Never imports torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from instax3d.config import LISTS, PluginChoice, RunConfig
from instax3d.plugin import Datum, Kind

_MAKING = "instax3d.stages.making"


@dataclass(frozen=True, slots=True)
class PipelineStage:
    """One stage. Its result is kept under a hash of all that is written here, and of the stages before it."""

    name: str
    """In progress, manifest and callbacks, and of the files in the cache."""
    reads: tuple[Datum, ...]
    """What it needs of what the stages before it made."""
    makes: Datum
    """What it makes, in place of what there was."""
    target: str
    """``package.module:function`` that makes it of the run, this record, and what was made so far (see
    `instax3d.stages.making`); imported when the stage runs, as it needs torch, or more."""
    kinds: tuple[Kind, ...] = ()
    """Of the plugins that it uses, chosen in slots or listed."""
    options: tuple[str, ...] = ()
    """The other keys of the config that its result depends on."""
    by_lightning: bool = False
    """Whether Lightning runs it, with what callbacks hand over for that."""
    plugin: PluginChoice | None = None
    """What runs, where this is a stage that the config lists."""
    steps: Callable[[RunConfig], int] | None = None
    """How many steps it counts; None if it counts none."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The top-level keys of the config that its result depends on, beside the seed."""
        lists = {kind: key for key, kind in LISTS.items()}
        return (*(lists.get(kind, kind.value) for kind in self.kinds), *self.options)

    def choices(self, config: RunConfig) -> list[PluginChoice]:
        """The plugins that it uses, with their options."""
        used = [choice for _, choice in config.plugins if choice.entry.spec.kind in self.kinds]
        used += config.steering if self.by_lightning else ()
        return used if self.plugin is None else [*used, self.plugin]

    def function(self) -> Callable[..., Any]:
        """What ``target`` names."""
        module, _, name = self.target.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


VIEWS = PipelineStage(
    name="views",
    reads=(),
    makes="views",
    target=f"{_MAKING}:generate",
    kinds=(Kind.LANDMARK_DETECTOR, Kind.VIEW_GENERATOR),
)
PRIOR = PipelineStage(
    name="prior",
    reads=("views",),
    makes="mesh",
    target=f"{_MAKING}:fit_prior",
    kinds=(Kind.MESH_PRIOR,),
)
CONSTRUCT = PipelineStage(
    name="construct",
    reads=("views", "mesh"),
    makes="gaussians",
    target="instax3d.stages.construction:construct",
    kinds=(Kind.REPRESENTATION, Kind.DENSIFIER, Kind.RENDERER, Kind.LOSS),
    options=("training", "trainer", "device"),
    by_lightning=True,
    steps=lambda config: config.training.iterations,
)
PIPELINE = (VIEWS, PRIOR, CONSTRUCT)
"""The stages of the program, in order. A config may list more of them (`stages_of`)."""


def stages_of(config: RunConfig) -> tuple[PipelineStage, ...]:
    """All stages of a run, in order: the program's, and after each of them those of plugins that it made possible.

    A plugin's stage is possible when all is there that it reads and makes; those that become possible at once run in
    the order of the config.
    """
    waiting = [_of_plugin(key, choice) for key, choice in config.plugins if choice.entry.spec.kind is Kind.STAGE]
    order: list[PipelineStage] = []
    there: set[Datum] = set()
    for stage in PIPELINE:
        there.add(stage.makes)
        order += [stage, *(each for each in waiting if there.issuperset((*each.reads, each.makes)))]
        waiting = [each for each in waiting if each not in order]
    return tuple(order)


def before_construction(config: RunConfig) -> tuple[PipelineStage, ...]:
    """The stages of a run that come before the construction, in order."""
    stages = stages_of(config)
    return stages[: stages.index(CONSTRUCT)]


def _of_plugin(key: str, choice: PluginChoice) -> PipelineStage:
    spec = choice.entry.spec
    assert spec.makes is not None, "a stage's spec says what it makes"
    return PipelineStage(key, spec.reads, spec.makes, f"{_MAKING}:run_plugin", plugin=choice)
