"""Contract, toolkit, private: every module has a tier, and the built-in families import from the first two alone."""

import ast
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import instax3d_plugins
import pytest

import instax3d
from instax3d._tiers import CONTRACT, PRIVATE, TOOLKIT

FAMILIES = sorted(info.name for info in pkgutil.iter_modules(instax3d_plugins.__path__))


def imports(path: Path) -> Iterator[str]:
    """The modules and names of instax3d that a file imports, as ``module`` or ``module.name``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "instax3d")
        elif (
            isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] == "instax3d"
        ):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def outside(path: Path, tiers: tuple[str, ...]) -> list[str]:
    """What a file imports from instax3d that is neither in these tiers nor a name of `import instax3d`."""
    found = []
    for name in imports(path):
        first, *rest = name.split(".")[1:] or [""]
        public = first in tiers and not any(part.startswith("_") for part in rest)
        if not public and name != "instax3d" and first not in instax3d.__all__:
            found.append(name)
    return found


def test_every_module_has_one_tier():
    tiers = [*CONTRACT, *TOOLKIT, *PRIVATE]
    modules = {info.name for info in pkgutil.iter_modules(instax3d.__path__)}
    assert sorted(tiers) == sorted(name for name in modules if not name.startswith("_") or name == "__main__")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_imports_from_contract_and_toolkit_alone(family):
    folder = Path(instax3d_plugins.__path__[0]) / family
    problems = {path.name: outside(path, (*CONTRACT, *TOOLKIT)) for path in folder.rglob("*.py")}
    assert {name: found for name, found in problems.items() if found} == {}


def test_the_contract_is_built_upon_no_other_tier():
    """But for `create` and `Portrait`, which `import instax3d` offers."""
    root = Path(instax3d.__path__[0])
    for module in CONTRACT:
        path = root / f"{module}.py"
        names = {
            node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.level
        }
        assert {name.partition(".")[0] for name in names if name and name[0] != "_"} <= set(CONTRACT), module
        assert outside(path, CONTRACT) == [], module
