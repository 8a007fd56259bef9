"""The number of a config file's format, and how older formats are read. Never imports torch.

A file states its ``format``; one without it is of format 0, which was written before files had a number.
"""

from collections.abc import Mapping
from typing import Any

from .errors import ConfigError

CONFIG_FORMAT = 1
"""Of the config files that this version writes."""

MOVED: Mapping[str, Mapping[str, str]] = {
    "training": {"ssim_weight": "losses.photometric.ssim_weight", "alpha_weight": "losses.alpha.weight"}
}
"""Options of format 0 that went elsewhere, by section: old name to new key."""


def migrated(doc: Mapping[str, Any], origin: str) -> tuple[dict[str, Any], list[str]]:
    """A config file's keys as this version knows them, without ``format``, and a note on each change.

    Args:
        doc: the file as it was read.
        origin: its name, for notes and errors.

    Raises:
        ConfigError: the file is of a newer format, or its number is none.
    """
    number = doc.get("format", 0)
    if type(number) is not int or number < 0:
        raise ConfigError(f"format (in {origin}): must be a number up to {CONFIG_FORMAT}, not {number!r}")
    if number > CONFIG_FORMAT:
        raise ConfigError(
            f"{origin} is of config format {number}, and this instax3d reads formats up to {CONFIG_FORMAT}; "
            "update instax3d"
        )
    current = {key: value for key, value in doc.items() if key != "format"}
    if number == CONFIG_FORMAT:
        return current, []
    notes: list[str] = []
    current = _with_losses(current, origin, notes)
    alternatives = current.get("when")
    if isinstance(alternatives, dict):
        current["when"] = {
            source: _with_losses(layer, f"{origin}, for a {source}", notes) if isinstance(layer, dict) else layer
            for source, layer in alternatives.items()
        }
    return current, notes


def _with_losses(layer: Mapping[str, Any], origin: str, notes: list[str]) -> dict[str, Any]:
    """Format 0 to 1: two weights of the training became options of losses; a weight of 0 left its loss out."""
    current = dict(layer)
    for section, moved in MOVED.items():
        options = current.get(section)
        if not isinstance(options, dict):
            continue
        old = [name for name in moved if name in options]
        if not old:
            continue
        losses = current.get("losses", {})
        if not isinstance(losses, dict):
            raise ConfigError(
                f"{origin} lists losses and also holds {', '.join(f'{section}.{name}' for name in old)} of an older "
                f"format; give {', '.join(moved[name] for name in old)} instead"
            )
        losses, changes = dict(losses), []
        for name in old:
            _, loss, option = moved[name].split(".")
            value = options[name]
            if option == "weight" and value == 0:
                losses.setdefault(loss, None)
                changes.append(f"{section}.{name} became losses.{loss}: null")
            else:
                losses[loss] = {option: value, **(losses.get(loss) or {})}
                changes.append(f"{section}.{name} became {moved[name]}")
        current["losses"] = losses
        current[section] = {name: value for name, value in options.items() if name not in moved}
        notes.append(f"{origin} is of an older format: {'; '.join(changes)}")
    return current
