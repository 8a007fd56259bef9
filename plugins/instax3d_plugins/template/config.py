"""Options of the template view generator."""

from typing import Annotated

from pydantic import Field

from instax3d.plugin import Kind, NamedPlugin, PluginConfig, PluginRef


class TemplateConfig(PluginConfig):
    """Views from one photo by a fitted head; unseen sides are guessed, not generated."""

    head: Annotated[NamedPlugin, PluginRef(Kind.HEAD_MODEL)] = "mannequin"
    """Head model that is fitted to the photo."""
    views: int = Field(21, ge=3, le=120)
    """Views around the head, the photo among them."""
    size: int = Field(512, ge=64, le=2048)
    """Width and height of the views, pixels."""
