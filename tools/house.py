"""Counts the rooms of the house: ``python tools/house.py`` prints them, and fails where a limit is passed.

A room is what stands directly in a package: a module, or a folder with code. An arrow leads from a room to another that
it imports, wherever in a file the import stands; what only type checkers read counts too. A circle is a set of rooms
that reach each other. Imports of the package itself (``from instax3d import __version__``) are no arrows.
"""

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("instax3d", "plugins/instax3d_plugins")
MOST_LINES = 80
"""Of a function; kernels, which compilers want in one piece, are exempt."""
MOST_PARAMETERS = 10
"""Of a function, ``self`` left out; kernels and functions that copy another library's signature are exempt."""
KERNELS = ("njit", "guvectorize", "vectorize", "intrinsic", "overload")
"""Decorators of compiled functions."""
COPIED = {
    ("plugins/instax3d_plugins/cpu/api.py", "rasterization"): "gsplat's signature",
    ("plugins/instax3d_plugins/cpu/reference.py", "rasterize"): "gsplat's signature",
}
"""Functions whose form another library prescribes, with the reason."""


@dataclass(frozen=True)
class Function:
    place: str
    name: str
    lines: int
    parameters: int


def rooms_of(package: Path) -> list[str]:
    """Names of the modules and folders with code directly in a package."""
    modules = [path.stem for path in package.glob("*.py") if path.stem != "__init__"]
    folders = [path.name for path in package.iterdir() if path.is_dir() and any(path.rglob("*.py"))]
    return sorted(modules + folders)


def imported(path: Path, package: Path) -> Iterator[str]:
    """Dotted names that a file imports from its own top package, without that package's name."""
    own = list(path.relative_to(package.parent).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = own[: -node.level] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        yield from (".".join(name[1:]) for name in names if name[0] == package.name and len(name) > 1)


def arrows_of(package: Path) -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second."""
    rooms = set(rooms_of(package))
    arrows = set()
    for path in package.rglob("*.py"):
        room = path.relative_to(package).with_suffix("").parts[0]
        targets = {name.split(".")[0] for name in imported(path, package)}
        arrows |= {(room, target) for target in targets & rooms if room in rooms and target != room}
    return arrows


def module_arrows_of(package: Path) -> set[tuple[str, str]]:
    """Pairs of modules of which the first imports the second, or a name from it; a package's `__init__` is left out."""
    modules = {".".join(path.relative_to(package).with_suffix("").parts) for path in package.rglob("*.py")}
    arrows = set()
    for path in package.rglob("*.py"):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        for name in imported(path, package):
            targets = {name, name.rpartition(".")[0]} & modules
            arrows |= {(module, target) for target in targets if target != module}
    return arrows


def circles_of(rooms: list[str], arrows: set[tuple[str, str]]) -> list[list[str]]:
    """Sets of rooms that reach each other."""
    reach = {room: {target for source, target in arrows if source == room} for room in rooms}
    for via in rooms:
        for room in rooms:
            if via in reach[room]:
                reach[room] |= reach[via]
    circles = {tuple(other for other in rooms if other in reach[room] and room in reach[other]) for room in rooms}
    return [list(circle) for circle in sorted(circles) if circle]


def functions_of(path: Path) -> Iterator[Function]:
    """Every function of a file that is no compiled kernel and copies no other library's signature."""
    place = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (place, node.name) in COPIED:
            continue
        if any(kernel in ast.unparse(mark) for mark in node.decorator_list for kernel in KERNELS):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        count = sum(argument.arg not in ("self", "cls") for argument in arguments)
        yield Function(f"{place}:{node.lineno}", node.name, (node.end_lineno or 0) - node.lineno + 1, count)


def unannounced(root: Path) -> Iterator[str]:
    """Where the entry points, the only list of plugins that is kept by hand, and the families' folders disagree."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"]["instax3d.plugins"]
    families = {path.parent.name for path in (root / "plugins/instax3d_plugins").glob("*/plugin.py")}
    expected = {name: f"instax3d_plugins.{name}.plugin" for name in families}
    yield from (f"pyproject.toml lacks {name} = {expected[name]!r}" for name in sorted(expected.keys() - points.keys()))
    yield from (f"entry point {name} names no family" for name in sorted(points.keys() - expected.keys()))
    both = sorted(expected.keys() & points.keys())
    yield from (f"entry point {name} should be {expected[name]!r}" for name in both if points[name] != expected[name])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout")
    parser.add_argument("--arrows", action="store_true", help="also list every arrow of the core")
    options = parser.parse_args()
    failures: list[str] = []
    for source in SOURCES:
        package = options.root / source
        if not package.is_dir():
            continue
        rooms, arrows = rooms_of(package), arrows_of(package)
        between = module_arrows_of(package)
        circles = circles_of(rooms, arrows) + circles_of(sorted({end for arrow in between for end in arrow}), between)
        print(f"{source}: {len(rooms)} rooms, {len(arrows)} arrows, {len(circles)} circles")
        failures += [f"circle in {source}: {', '.join(circle)}" for circle in circles]
        if options.arrows and source == "instax3d":
            for room in rooms:
                print(f"  {room} -> {', '.join(sorted(target for a, target in arrows if a == room)) or 'nothing'}")
    if options.root == ROOT:
        files = [path for source in (*SOURCES, "benchmarks") for path in sorted((ROOT / source).rglob("*.py"))]
        functions = [function for path in files for function in functions_of(path)]
        longest = max(functions, key=lambda item: item.lines)
        widest = max(functions, key=lambda item: item.parameters)
        print(f"longest function: {longest.lines} lines ({longest.place} {longest.name})")
        print(f"most parameters: {widest.parameters} ({widest.place} {widest.name})")
        failures += unannounced(ROOT)
        for function in functions:
            if function.lines > MOST_LINES:
                failures.append(f"{function.place} {function.name}: {function.lines} lines")
            if function.parameters > MOST_PARAMETERS:
                failures.append(f"{function.place} {function.name}: {function.parameters} parameters")
    print("\n".join(failures) or "all within limits")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
