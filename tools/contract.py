"""Compares the contract's public surface with its frozen versions: ``python tools/contract.py`` fails where it breaks.

The surface is what a plugin can lean on: names, signatures, fields with their defaults, abstract methods, of the
modules that `instax3d/_tiers.py` calls the contract. It is read from the source, so another checkout can be asked too.

    python tools/contract.py                        # what older plugins would stumble over, and what is not frozen yet
    python tools/contract.py --freeze               # writes the surface of the current version, after a change to it
    python tools/contract.py --freeze --root DIR    # the same of another checkout, under the version that it states

A version that was released is not frozen again: raise `instax3d.plugin.API_VERSION`, then freeze. What a minor version
may add is allowed without a word; all else needs a line in ``exceptions.toml`` that says why, and what becomes of an
older plugin (docs/public_surface.md has the rules).
"""

import argparse
import ast
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FROZEN = ROOT / "tests" / "frozen" / "contract"
EXCEPTIONS = FROZEN / "exceptions.toml"
_VERSION = "API_VERSION"
_SPECIAL = ("__init__", "__call__", "__len__", "__getitem__", "__enter__", "__exit__")
"""Methods that count although their names begin with an underscore."""
_IMPLEMENTED = ("Component", "abc.ABC")
"""Classes that derive from one of these are implemented by plugins, so that their methods may gain no parameters."""


@dataclass(frozen=True)
class Surface:
    """What a version of the contract offers, by dotted name, each as a line in the manner of a stub file."""

    version: str
    names: Mapping[str, str]
    imports: Mapping[str, str]
    """Names of the contract that its modules import from each other: a name that moved is found there."""

    def get(self, name: str) -> str | None:
        """What is to be had under a name, also where it has moved to another module of the contract."""
        if name in self.names:
            return self.names[name]
        parts = name.split(".")
        for end in range(len(parts), 1, -1):
            moved = self.imports.get(".".join(parts[:end]))
            if moved is not None:
                return self.get(".".join([moved, *parts[end:]]))
        return None


def _assigned(tree: ast.Module, name: str) -> object:
    """The literal that a module assigns to a name."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(f"{name} is not assigned")


def read_surface(root: Path) -> Surface:
    """The surface of a checkout.

    Args:
        root: the folder that holds ``instax3d/``.
    """
    package = root / "instax3d"
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.glob("*.py"))}
    modules = _assigned(trees["_tiers"], "CONTRACT")
    assert isinstance(modules, tuple)
    exported = _assigned(trees["__init__"], "__all__")
    assert isinstance(exported, list)
    names = {f"instax3d.{name}": "offered" for name in exported}
    imports = {}
    for module in modules:
        for name, line in _module(trees[module]):
            names[f"{module}.{name}"] = line
        for node in trees[module].body:
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module in modules:
                imports |= {f"{module}.{each.asname or each.name}": f"{node.module}.{each.name}" for each in node.names}
    stated = str(_assigned(trees["plugin"], _VERSION))
    return Surface(stated if "." in stated else f"{stated}.0", dict(sorted(names.items())), imports)


def _module(tree: ast.Module) -> Iterator[tuple[str, str]]:
    options = {"PluginConfig", "BaseModel"}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if options & set(map(ast.unparse, node.bases)):
                options.add(node.name)
            yield from _class(node, node.name in options)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and "overload" not in _marks(node):
            yield node.name, f"def {_signature(node)}"
        else:
            yield from ((name, f"constant{line}") for name, line in _value(node) if name != _VERSION)


def _marks(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    """The names of decorators, without their modules and arguments."""
    calls = [mark.func if isinstance(mark, ast.Call) else mark for mark in node.decorator_list]
    return [ast.unparse(mark).rpartition(".")[2] for mark in calls]


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returns}"


def _value(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """The public name that a statement assigns to, with its type, and its value where that is a plain literal."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        name, kind, value = node.target.id, f": {ast.unparse(node.annotation)}", node.value
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name, kind, value = node.targets[0].id, "", node.value
    else:
        return
    if not name.startswith("_") and name != "model_config":
        given = "" if value is None else f" = {ast.unparse(value) if isinstance(value, ast.Constant) else '…'}"
        yield name, f"{kind}{given}"


def _class(node: ast.ClassDef, is_options: bool) -> Iterator[tuple[str, str]]:
    """A class and its members. Of records and options the fields are the parameters that they are made from."""
    bases = ", ".join(map(ast.unparse, node.bases))
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    is_record = "dataclass" in _marks(node) and not any(method.name == "__init__" for method in methods)
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each)]
    if is_record or is_options:
        keywords = "kw_only=True" in " ".join(map(ast.unparse, node.decorator_list)) or is_options
        parts = [ast.unparse(each) for each in fields if not ast.unparse(each.target).startswith("_")]
        form = ", ".join(["*", *parts] if keywords and parts else parts)
        yield node.name, f"{'options' if is_options else 'record'} ({form})"
    else:
        is_kind = any(base.partition("[")[0] in _IMPLEMENTED for base in map(ast.unparse, node.bases))
        yield node.name, f"{'kind' if is_kind else 'class'} ({bases})"
    for each in node.body:
        if not ((is_record or is_options) and each in fields):
            yield from ((f"{node.name}.{name}", f"attribute{line}") for name, line in _value(each))
    for method in methods:
        if method.name in _SPECIAL or not method.name.startswith("_"):
            marks = ("abstract" if mark == "abstractmethod" else mark for mark in _marks(method))
            yield f"{node.name}.{method.name}", " ".join([*marks, f"def {_signature(method)}"])


def breaks(old: Surface, new: Surface) -> dict[str, str]:
    """What a plugin written for ``old`` could stumble over in ``new``: name to a sentence.

    A plugin calls functions and makes records, so these may gain parameters that have defaults. It implements kinds, so
    their methods keep their parameters, and new ones are not abstract.
    """
    found = {}
    for name, before in old.names.items():
        after = new.get(name)
        owner = old.names.get(name.rpartition(".")[0], "")
        if after is None:
            found[name] = f"was removed: {before}"
        elif after != before and not _may_become(before, after, owner.startswith("kind")):
            found[name] = f"was {before}, is {after}"
    for name, after in new.names.items():
        owner = name.rpartition(".")[0]
        if name not in old.names and old.names.get(owner, "").startswith("kind"):
            if after.startswith("abstract"):
                found[name] = f"is new and abstract, so older plugins lack it: {after}"
            elif after.startswith("attribute") and " = " not in after:
                found[name] = f"is new and has no default, so older plugins lack it: {after}"
    return found


def _may_become(before: str, after: str, implemented: bool) -> bool:
    """Whether a minor version may change one line into the other."""
    if implemented:
        return before == f"abstract {after}"
    words = before.partition("(")[0], after.partition("(")[0]
    if before.startswith(("class ", "kind ")):
        return words[0] == words[1] and set(_bases(before)) <= set(_bases(after))
    if "(" not in before or words[0] != words[1] or before.startswith(("attribute", "constant")):
        return False
    return _accepts(_parsed(before), _parsed(after), may_widen="def " in before)


def _bases(line: str) -> list[str]:
    tree = ast.parse(f"class X{line.partition(' ')[2]}: ...").body[0]
    assert isinstance(tree, ast.ClassDef)
    return [ast.unparse(base) for base in tree.bases]


def _parsed(line: str) -> ast.FunctionDef:
    tree = ast.parse(f"def f{line[line.index('(') :]}: ...").body[0]
    assert isinstance(tree, ast.FunctionDef)
    return tree


def _accepts(old: ast.FunctionDef, new: ast.FunctionDef, *, may_widen: bool) -> bool:
    """Whether every call of the old signature is one of the new, with the same meaning.

    Args:
        may_widen: parameters may take further types, as a function's may; what is read from a record may not.
    """
    before, after = _parameters(old), _parameters(new)
    places = [name for name, (_, place, _) in before.items() if place == "by place"]
    now = [name for name, (_, place, _) in after.items() if place == "by place"]
    same_end = ast.dump(old.returns or ast.Pass()) == ast.dump(new.returns or ast.Pass())
    added = [after[name] for name in after.keys() - before.keys()]
    return (
        same_end
        and now[: len(places)] == places
        and all(name in after and _same(parameter, after[name], may_widen) for name, parameter in before.items())
        and all(default is not None or place == "any" for _, place, default in added)
    )


def _same(old: tuple[str, str, str | None], new: tuple[str, str, str | None], may_widen: bool) -> bool:
    types = [set(kind.split(" | ")) for kind, _, _ in (old, new)]
    return old[1:] == new[1:] and (types[0] <= types[1] if may_widen else old[0] == new[0])


def _parameters(function: ast.FunctionDef) -> dict[str, tuple[str, str, str | None]]:
    """Type, way of passing and default of each parameter."""
    form = function.args
    placed = [*form.posonlyargs, *form.args]
    defaults = [None] * (len(placed) - len(form.defaults)) + list(form.defaults)
    found = {}
    for place, each, default in [
        *(("by place", each, default) for each, default in zip(placed, defaults, strict=True)),
        *(("by name", each, default) for each, default in zip(form.kwonlyargs, form.kw_defaults, strict=True)),
        *(("any", each, None) for each in (form.vararg, form.kwarg) if each is not None),
    ]:
        kind = "" if each.annotation is None else ast.unparse(each.annotation)
        found[each.arg] = (kind, place, None if default is None else ast.unparse(default))
    return found


def frozen() -> list[Surface]:
    """All frozen versions, the oldest first."""
    surfaces = [Surface(path.stem, json.loads(path.read_text(encoding="utf-8")), {}) for path in FROZEN.glob("*.json")]
    return sorted(surfaces, key=lambda each: [int(part) for part in each.version.split(".")])


def exceptions() -> dict[str, dict[str, str]]:
    """Deliberate breaks: by the version that they break, and name, why and what becomes of older plugins."""
    return tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))


def problems(now: Surface) -> Iterator[str]:
    """Where the surface breaks a frozen version without an exception, where an exception is not needed, and where the
    current version is not frozen as it is."""
    versions = {each.version: each for each in frozen()}
    for old in versions.values():
        if old.version == now.version:
            continue
        found, excused = breaks(old, now), exceptions().get(old.version, {})
        yield from (f"{name} {found[name]} (in {old.version})" for name in sorted(found.keys() - excused.keys()))
        yield from (
            f"exceptions.toml excuses {name} of {old.version}, which is not broken; remove the line"
            for name in sorted(excused.keys() - found.keys())
        )
    recorded = versions[now.version].names if now.version in versions else {}
    if recorded != now.names:
        changed = [name for name in recorded.keys() | now.names.keys() if recorded.get(name) != now.names.get(name)]
        yield (
            f"version {now.version} is not frozen as it is now ({len(changed)} names, such as {min(changed)}); if it "
            "was released, raise API_VERSION; then run: python tools/contract.py --freeze"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--freeze", action="store_true", help="write the surface as that of its version")
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout")
    options = parser.parse_args()
    now = read_surface(options.root)
    if options.freeze:
        path = FROZEN / f"{now.version}.json"
        path.write_text(json.dumps(now.names, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}: {len(now.names)} names")
    found = list(problems(read_surface(ROOT)))
    print("\n".join(found) or f"the contract {read_surface(ROOT).version} keeps what it promised")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
