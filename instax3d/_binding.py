"""The options of a plugin together with those of the plugin that one of them names, all at one level."""

from collections.abc import Mapping
from copy import copy
from functools import cache
from typing import Any, ClassVar

from pydantic import ValidationError, create_model, model_validator

from .plugin import PluginConfig


class BoundConfig(PluginConfig):
    """Base of the classes that `bound_config` makes."""

    _base: ClassVar[type[PluginConfig]]
    _option: ClassVar[str]
    _named: ClassVar[tuple[str, tuple[str, ...]]]
    """The name that the option has, and the options of the plugin of that name."""

    def unbound(self) -> PluginConfig:
        """The same as options of the base, of which one names the other plugin with its options."""
        name, options = self._named
        values = {option: getattr(self, option) for option in self._base.model_fields if option != self._option}
        nested = {"plugin": name, **{option: getattr(self, option) for option in options}}
        return self._base.model_validate({**values, self._option: nested})

    def ignored_options(self) -> Mapping[str, str]:
        """Of both."""
        return {**super().ignored_options(), **self.unbound().ignored_options()}

    @model_validator(mode="after")
    def _base_agrees(self) -> "BoundConfig":
        try:
            self.unbound()
        except ValidationError as error:
            raise ValueError("; ".join(item["msg"] for item in error.errors())) from error
        return self


def collisions(base: type[PluginConfig], option: str, named: type[PluginConfig]) -> list[str]:
    """Options that both classes have, ``option`` left out."""
    return sorted((base.model_fields.keys() - {option}) & named.model_fields.keys())


@cache
def bound_config(base: type[PluginConfig], option: str, named: type[PluginConfig], name: str) -> type[BoundConfig]:
    """The class of options that are those of ``base`` without ``option``, and those of ``named``.

    Args:
        option: of ``base``; names the plugin that has the options ``named``.
        name: the value of that option.
    """
    added: dict[str, Any] = {
        key: (info.annotation, copy(info)) for key, info in base.model_fields.items() if key != option
    }
    bases: Any = (BoundConfig, named)
    bound: type[BoundConfig] = create_model(
        f"{base.__name__}Of{named.__name__}",
        __base__=bases,
        __module__=__name__,
        __doc__=named.__doc__ or base.__doc__,
        **added,
    )
    bound._base, bound._option, bound._named = base, option, (name, tuple(named.model_fields))
    bound.renamed = {**base.renamed, **named.renamed}
    return bound
