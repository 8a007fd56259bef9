"""Options of the template view generator."""

from typing import Annotated

from pydantic import Field

from instax3d.plugin import Kind, PluginConfig, PluginRef


class TemplateConfig(PluginConfig):
    """Views from one photo by a fitted head; unseen sides are guessed, not generated."""

    head: Annotated[str, PluginRef(Kind.MESH_PRIOR, needs=frozenset({"head_model"}))] = "mannequin"
    """Mesh prior whose head model is fitted to the photo."""
    views: int = Field(21, ge=3, le=120)
    """Views around the head, the photo among them."""
    size: int = Field(512, ge=64, le=2048)
    """Width and height of the views, pixels."""
