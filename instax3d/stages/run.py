"""One run of the stages: its configuration, what shows and times it, and where results are kept."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from instax3d.config import RunConfig, Source, source_kind
from instax3d.errors import IncompatiblePipelineError
from instax3d.interfaces import LandmarkDetector, Renderer
from instax3d.io.progress import Stages
from instax3d.plugin import Kind
from instax3d.types import StageEvent

from .cache import StageCache
from .callbacks import CallbackSet, Event
from .randomness import preserved_generators

Resume = bool | Literal["if any"]


@dataclass(eq=False)
class Run:
    """One run of the stages. Plugins that several stages use are made when they are first asked for."""

    path: Path
    config: RunConfig
    device: str
    stages: Stages
    """Shows and times them."""
    cache: StageCache | None
    resume: Resume = False
    keys: Mapping[str, str] = field(default_factory=dict)
    """Of the stages' results, by stage; filled in once the source is read."""

    @property
    def source_kind(self) -> Source:
        """What it starts from."""
        return source_kind(self.path)

    @cached_property
    def callbacks(self) -> CallbackSet:
        """Those that the config lists.

        Raises:
            BrokenPluginError: one cannot be imported or does not implement its kind.
        """
        listed = {key: choice for key, choice in self.config.plugins if choice.entry.spec.kind is Kind.CALLBACK}
        return CallbackSet({key: choice.build() for key, choice in listed.items()}, self.stages.note)

    @cached_property
    def detector(self) -> LandmarkDetector[Any]:
        """The landmark detector.

        Raises:
            BrokenPluginError: it cannot be imported or does not implement its kind.
        """
        return self.config.build(LandmarkDetector)

    @cached_property
    def renderer(self) -> Renderer[Any]:
        """The renderer.

        Raises:
            BrokenPluginError: it cannot be imported or does not implement its kind.
            IncompatiblePipelineError: it runs on another device than was requested.
        """
        config = self.config
        renderer = config.build(Renderer)
        if config.device not in ("auto", renderer.device_type):
            raise IncompatiblePipelineError(
                f"device={config.device} was requested, but the renderer "
                f"{config.choices[Kind.RENDERER].entry.spec.name!r} runs on {renderer.device_type}; change one of them"
            )
        return renderer

    def tell(self, event: Event) -> None:
        """Tell the callbacks. What they draw from the global random generators changes nothing of the run."""
        if self.callbacks:
            with preserved_generators(self.device):
                self.callbacks.tell(event)

    @contextmanager
    def stage(self, name: str, steps: int | None = None) -> Iterator[None]:
        """Show and time what is done in this block, and tell the callbacks."""
        self.tell(StageEvent(name, "started"))
        with self.stages.stage(name, steps):
            yield
        self.tell(StageEvent(name, "done", self.stages.seconds[name]))

    def reuse(self, name: str, seconds: float) -> None:
        """A stage's result was found, which once took so many seconds."""
        self.stages.reuse(name, seconds)
        self.tell(StageEvent(name, "reused", seconds))
