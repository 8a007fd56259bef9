"""Options of the densifier. Frozen: see tests/core/test_frozen.py."""

from instax3d.plugin import PluginConfig
from pydantic import Field


class FrozenPrunerConfig(PluginConfig):
    """When, and how many."""

    every: int = Field(20, gt=0)
    """Steps between removals."""
    share: float = Field(0.05, ge=0, lt=1)
    """Of the Gaussians there are, at each removal."""
