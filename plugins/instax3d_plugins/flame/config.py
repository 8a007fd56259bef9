"""Options of the head models `flame` and `flame-2020`. Never imports torch."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from instax3d.plugin import AssetRef, PluginConfig

Version = Literal["2020", "2023", "2023-open"]


def _as_text(value: Any) -> Any:
    """A year as people write it, ``version=2020``, which YAML reads as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


VersionOption = Annotated[Version, BeforeValidator(_as_text)]
"""`Version` as an option."""


class FlameConfig(PluginConfig):
    """Which FLAME, and how much of it. The files are the user's; see ``instax3d assets list``."""

    model: Annotated[str, AssetRef("flame-2023-open", "flame-2023", "flame-2020")] = "flame-2023-open"
    """The model: one of these assets, or the path of an official pickle or of a converted .npz."""
    landmarks: Annotated[str | None, AssetRef("flame-landmarks")] = "flame-landmarks"
    """Where the 68 landmarks are on the mesh; null where the converted model holds them."""
    masks: Annotated[str | None, AssetRef("flame-masks")] = "flame-masks"
    """The parts of the head; null where the converted model holds them."""
    version: VersionOption | None = None
    """What a file under a name of your own is; parameters of one version do not fit another."""
    expression_components: int = Field(50, ge=1, le=100)
    """How many of the 100 expression components the head has (DECA: 50); all of them are fitted."""


class Flame2020Config(FlameConfig):
    """The same for FLAME 2020 alone."""

    model: Annotated[str, AssetRef("flame-2020")] = "flame-2020"
    """The asset, or the path of its pickle or of a converted .npz."""
    version: Annotated[Literal["2020"], BeforeValidator(_as_text)] = "2020"
    """Fixed."""
