"""Finds public functions whose tensors and arrays have no shape: ``python tools/shapes.py`` lists them, and fails.

An annotation such as ``Float[Tensor, "views 3 h w"]`` states and checks a shape; a bare ``Tensor`` or ``ndarray``
states none. Containers of tensors (``dict[str, Tensor]``, what a checkpoint holds) are allowed.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("instax3d", "plugins/instax3d_plugins")
ARRAYS = {"Tensor", "ndarray"}
EXEMPT = {
    "plugins/instax3d_plugins/cpu/api.py rasterization": "gsplat's signature; it checks shapes itself, with messages"
}
"""Functions whose shapes are said and checked elsewhere, with the reason."""


def has_bare_array(annotation: ast.expr | None) -> bool:
    """Whether an annotation is an array without a shape, also as one of several alternatives."""
    if isinstance(annotation, ast.Name):
        return annotation.id in ARRAYS
    if isinstance(annotation, ast.Attribute):
        return annotation.attr in ARRAYS
    if isinstance(annotation, ast.BinOp):
        return has_bare_array(annotation.left) or has_bare_array(annotation.right)
    return False


def unshaped(path: Path) -> Iterator[str]:
    """Public functions and methods of a file that take or return an array without a shape."""

    def visit(body: list[ast.stmt], owner: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from visit(node.body, f"{node.name}.")
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith(("_", "test_")):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                annotations = [argument.annotation for argument in arguments] + [node.returns]
                place, name = path.relative_to(ROOT).as_posix(), f"{owner}{node.name}"
                exempt = f"{place} {name}" in EXEMPT or any("fixture" in ast.unparse(d) for d in node.decorator_list)
                if not exempt and any(has_bare_array(annotation) for annotation in annotations):
                    yield f"{place}:{node.lineno} {name}"

    yield from visit(ast.parse(path.read_text(encoding="utf-8")).body, "")


def main() -> int:
    bare = [place for source in SOURCES for path in sorted((ROOT / source).rglob("*.py")) for place in unshaped(path)]
    print("\n".join(bare) or "every public array has a shape")
    return 1 if bare else 0


if __name__ == "__main__":
    sys.exit(main())
