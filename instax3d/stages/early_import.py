"""Imports that go on in a thread while something else is calculated."""

from contextlib import suppress
from importlib import import_module
from threading import Thread


def import_early(*modules: str) -> None:
    """Begin to import modules, one after the other, and return at once.

    Whoever imports one of them meanwhile waits for it, as the import system has it. What fails here is tried again
    there, and its error is raised there.
    """
    Thread(target=_import_all, args=(modules,), name=f"import of {', '.join(modules)}").start()


def _import_all(modules: tuple[str, ...]) -> None:
    with suppress(Exception):
        for module in modules:
            import_module(module)
