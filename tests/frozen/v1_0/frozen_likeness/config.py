"""Options of the metric. Frozen: see tests/core/test_frozen.py."""

from typing import Annotated

from instax3d.plugin import Kind, PluginConfig, PluginRef


class FrozenLikenessConfig(PluginConfig):
    """What the head is compared with."""

    head: Annotated[str, PluginRef(Kind.MESH_PRIOR, needs=frozenset({"head_model"}))] = "mannequin"
    """The mesh prior whose head model it is."""
