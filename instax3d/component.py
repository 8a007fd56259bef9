"""The base of all plugin kinds. Never imports torch."""

import abc
from typing import ClassVar, Generic

from typing_extensions import TypeVar

from .plugin import Kind, PluginConfig, PluginSpec

C = TypeVar("C", bound=PluginConfig, default=PluginConfig, covariant=True)
"""The class of a plugin's options: `Renderer` alone means any renderer, ``Renderer[PluginConfig]``."""


class Component(abc.ABC, Generic[C]):
    """The base of all kinds: made from its config alone."""

    kind: ClassVar[Kind]
    """Set by the abstract class of each kind."""
    shared: ClassVar[bool] = False
    """Whether the whole process uses one instance for the same options: for what is read-only. It is made anew once a
    file has changed that it found by `instax3d.assets.require` when it was made."""

    def __init__(self, config: C) -> None:
        self.config = config

    def warmup(self) -> None:
        """Do now what the first use would do once per machine, such as compiling. By default nothing."""

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        """A sentence for each claim of the spec that the class does not keep; such a plugin is refused."""
        return []
