"""The files of code and data that a plugin's results depend on, found without importing anything.

They are: every file of the package that holds the implementation; the module of the options; and, file by file, the
modules that these import, as far as they belong to the plugin's own distribution or lie outside of site-packages, as
code under development does, with the data files of their packages. Imports are read from the syntax tree, so modules
whose names are computed when the program runs are not found. A module that is loaded already, as a script that runs or
a file of ``INSTAX3D_DEV_PLUGINS`` is, is found where it was loaded from.
"""

import ast
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

from instax3d.errors import BrokenPluginError

_CORE = "instax3d"
"""Hashed by itself."""
_PYTHON = ".py"
_WITHOUT_EFFECT = (".pyc", ".pyo", ".md", ".rst", ".typed")
"""Files of packages that no result depends on: bytecode, texts, marks for type checkers."""


def plugin_sources(target: str, config: str, distribution: str) -> set[tuple[str, Path]]:
    """Names, the same on every machine, and paths of all files that a plugin's results depend on.

    Args:
        target: the module of its implementation.
        config: the module of its options.
        distribution: the name of the distribution that brings it.

    Raises:
        BrokenPluginError: one of the two modules is not there.
    """
    sources: set[tuple[str, Path]] = set()
    modules = [name for name in (target, config) if name.partition(".")[0] != _CORE]
    package = _package_of(target)
    if package:
        for name, path in package_files(package).items():
            sources.add((f"{package}/{name}", path))
            if path.suffix == _PYTHON:
                inner = path.relative_to(_folder(package)).with_suffix("").parts
                modules.append(".".join([package, *(part for part in inner if part != "__init__")]))
    return sources | set(_follow(modules, distribution))


def libraries(target: str, config: str, distribution: str) -> set[str]:
    """The installed distributions, other than Python's and our own, whose modules a plugin imports.

    Args:
        target, config, distribution: as in `plugin_sources`.

    Raises:
        BrokenPluginError: one of the two modules is not there.
    """
    files = [path for _, path in plugin_sources(target, config, distribution) if path.suffix == _PYTHON]
    tops = {name.partition(".")[0] for path in files for name in _imports(path, "")}
    return {each for top in tops - {_CORE} for each in _distributions_of_modules().get(top, ())}


@cache
def _distributions_of_modules() -> Mapping[str, list[str]]:
    return packages_distributions()


def package_files(package: str) -> dict[str, Path]:
    """All files of a package that results may depend on, by their paths in it with forward slashes.

    Raises:
        BrokenPluginError: it is not there.
    """
    folder = _folder(package)
    files = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    return {inner.as_posix(): path for inner, path in files if _counts(inner)}


def _counts(inner: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in inner.parts)
    return not hidden and inner.suffix not in _WITHOUT_EFFECT


@dataclass(frozen=True, slots=True)
class _Module:
    """Where a module or package is."""

    file: Path | None
    """None for a namespace package, and for what is compiled into Python."""
    folders: tuple[str, ...] | None
    """Where modules inside it are; None where it is not a package."""

    @property
    def is_regular_package(self) -> bool:
        return self.file is not None and self.folders is not None


@cache
def _locate(name: str) -> _Module | None:
    """Where a module is; unlike `importlib.util.find_spec` without importing the packages above it."""
    top, *inner = name.split(".")
    try:
        module = _module(find_spec(top))
    except ImportError:
        return None
    except ValueError:  # a module like __main__, which was not imported from anywhere
        file = getattr(sys.modules[top], "__file__", None)
        return _Module(Path(file), None) if file and not inner else None
    for part in inner:
        if module is None or module.folders is None:
            return None
        # By the last part alone: of a dotted name it would ask the packages above, which are not imported.
        module = _module(PathFinder.find_spec(part, module.folders))
    return module


def _module(spec: ModuleSpec | None) -> _Module | None:
    if spec is None:
        return None
    folders = spec.submodule_search_locations
    file = Path(spec.origin) if spec.has_location and spec.origin is not None else None
    return _Module(file, None if folders is None else tuple(map(str, folders)))


def _folder(package: str) -> Path:
    module = _locate(package)
    if module is None or not module.folders:
        raise BrokenPluginError(f"the package {package} is not there; reinstall the package that brings it")
    return Path(module.folders[0])


def _package_of(name: str) -> str:
    """The regular package that a module is or lies in; empty for one at the top, or directly in a namespace package,
    which other distributions may share.

    Raises:
        BrokenPluginError: it is not there.
    """
    module = _locate(name)
    if module is None:
        raise BrokenPluginError(f"the module {name} is not there; reinstall the package that brings it")
    package = name if module.folders is not None else name.rpartition(".")[0]
    above = _locate(package) if package else None
    return package if above is not None and above.is_regular_package else ""


def _follow(names: list[str], distribution: str) -> Iterator[tuple[str, Path]]:
    """The files of modules, of all that they import, and of the packages above both, as far as they count.

    The modules that it begins with always count, those of code that only registers itself among installed ones too.
    """
    seen: set[str] = set()
    first = set(names)
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        top = _locate(name.partition(".")[0])
        if top is None or not (name in first or _is_own(name, top, distribution)):
            continue
        if "." in name:
            names.append(name.rpartition(".")[0])  # is imported first
        module = _locate(name)
        if module is None or module.file is None or not (name in first or _is_own(name, module, distribution)):
            continue
        package = name if module.folders is not None else name.rpartition(".")[0]
        yield name, module.file
        if package:  # what is in the folder of a single module may be anything
            yield from ((f"{package}/{inner}", path) for inner, path in _data(module.file.parent))
        if module.file.suffix == _PYTHON:
            names += _imports(module.file, package)


def _data(folder: Path) -> Iterator[tuple[str, Path]]:
    """Data files of a package, those in its packages left out."""
    for path in folder.iterdir():
        if not _counts(Path(path.name)):
            continue
        if path.is_file() and path.suffix != _PYTHON:
            yield path.name, path
        elif path.is_dir() and not any(path.glob(f"*{_PYTHON}")):
            yield from ((f"{path.name}/{inner}", inside) for inner, inside in _data(path))


def _is_own(name: str, module: _Module, distribution: str) -> bool:
    """Whether a module's code may change without the version of anything: it is of the plugin's own distribution, or
    lies outside of site-packages."""
    top = name.partition(".")[0]
    if top == _CORE or top in sys.stdlib_module_names:
        return False
    if module.file is None:
        return module.folders is not None  # a namespace package, not what is compiled into Python
    path = module.file.resolve()
    if not any(path.is_relative_to(folder) for folder in _installed_folders()):
        return True
    files, tops = _contents(distribution)
    return path in files or top in tops


@cache
def _installed_folders() -> tuple[Path, ...]:
    """Where installers put packages."""
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    folders += [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")]
    return tuple({Path(folder).resolve() for folder in folders})


@cache
def _contents(name: str) -> tuple[frozenset[Path], frozenset[str]]:
    """The files of an installed distribution; where it does not list them, its top-level modules."""
    try:
        installed = distribution(name)
    except PackageNotFoundError:  # a plugin in development
        return frozenset(), frozenset()
    if installed.files is not None:
        return frozenset(Path(str(installed.locate_file(file))).resolve() for file in installed.files), frozenset()
    return frozenset(), frozenset((installed.read_text("top_level.txt") or "").split())


def _imports(path: Path, package: str) -> list[str]:
    """Modules that a file may import; of names imported from a package it is not known whether they are modules.

    Args:
        package: the one that relative imports start from.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):  # cannot be imported either
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")]
    return [name for name in names if name]
