"""YAML as people write it: the core schema of YAML 1.2, where PyYAML alone reads YAML 1.1. Never imports torch.

``010`` is ten, ``8e-4`` a number, and ``on``, ``no``, ``1:30`` and ``2026-01-31`` are text
(https://yaml.org/spec/1.2.2/#103-core-schema). A key that stands twice in one mapping is an error.
"""

import re
from typing import Any

import yaml

YAMLError = yaml.YAMLError

_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_MERGE = "tag:yaml.org,2002:merge"

_CORE = (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    (_FLOAT, r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
)
"""Tag, text and first characters of every plain value that is not text; the first that fits counts."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name


class _Dumper(yaml.SafeDumper):
    """Quotes every text that one of the two versions would take for something else."""


for _tag, _pattern, _first in _CORE:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_implicit_resolver(_MERGE, re.compile("^(?:<<)$"), ["<"])


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    try:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    except ValueError as error:  # more digits than Python converts
        raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error


def _float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)).lower().replace(".inf", "inf").replace(".nan", "nan"))


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Any:
    seen: set[object] = set()
    for key, _ in node.value:
        if key.tag == _MERGE or not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key.value!r} stands twice in one mapping", key.start_mark
            )
        seen.add(key.value)
    return loader.construct_yaml_map(node)


_Loader.add_constructor(_INT, _int)
_Loader.add_constructor(_FLOAT, _float)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load(text: str) -> Any:
    """The value that ``text`` stands for; only plain values, lists and mappings.

    Raises:
        YAMLError: it is not valid YAML, or nested too deeply to be read.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise YAMLError("it is nested too deeply") from error


def dump(value: Any, *, one_line: bool = False) -> str:
    """Text from which `load` reads the same plain value.

    Args:
        value: plain values, lists and mappings; mappings keep their order.
        one_line: as a command line takes it, in ``{}`` and ``[]``.
    """
    flow, width = (True, 10**6) if one_line else (False, None)
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=width
    )
    return text.removesuffix("\n").removesuffix("\n...") if one_line else text


def explain(error: yaml.YAMLError) -> str:
    """What is wrong and in which line, in one line."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    text = " ".join(str(problem or error).split())
    return text if mark is None else f"{text} (line {mark.line + 1})"
