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

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

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
    TURNTABLE_SOURCE = "turntable_source"


class PluginConfig(BaseModel):
    """Base of every plugin's options: typos are errors, values are frozen, attribute docstrings are the help."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class PluginRef:
    """Marks a config field that names another plugin: ``head: Annotated[str, PluginRef(Kind.MESH_PRIOR)]``.

    The name is looked up when the config is read, so a typo is found before any work; at run time
    `instax3d.registry.build` makes the plugin with its default options.
    """

    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSpec:
    """What the registry knows of a plugin before importing it.

    ``needs`` and ``provides`` are capabilities compared when the config is read. In use: ``photo`` and ``capture``
    (provided by the input), ``absgrad`` (a renderer), ``head_model`` (a mesh prior with `MeshPrior.head_model`),
    ``cuda`` and ``cpu`` (the device); plugins may add their own.
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
    requires: tuple[str, ...] = ()
    """Import names that must be present; looked for by ``instax3d plugins check``."""
    extra: str | None = None
    """The pip extra of ``instax3d`` that installs ``requires``."""


class HookSpecs:
    """Hooks that a plugin module may implement with ``@hookimpl``."""

    @hookspec
    def instax3d_plugins(self) -> Iterable[PluginSpec]:  # type: ignore[empty-body]
        """Return the plugins this package offers. Must not import torch."""
