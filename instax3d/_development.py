"""Plugins that no installed distribution announces: ``INSTAX3D_DEV_PLUGINS=my_package.plugin,my_folder/mine.py``.

The variable names registration modules, as an entry point would, and files. A file is loaded as a module of its own,
`module_name`; it has the hooks of a registration module, or classes marked ``@instax3d.register``, or both. What it
imports must be importable: its folder is not put on the path. Worker processes inherit the variable, and with it the
plugins. Never imports torch; what the files import is theirs.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from .errors import BrokenPluginError
from .plugin import GROUP

_PYTHON = ".py"
_PREFIX = "instax3d_dev_"


class FilePoint(EntryPoint):
    """The entry point that a file would have; its name and value are the path."""

    def load(self) -> ModuleType:
        """The file, run anew as a module.

        Raises:
            BrokenPluginError: it is not there, or another file is a module of that name.
        """
        path = Path(self.value).expanduser().resolve()
        if not path.is_file():
            raise BrokenPluginError(f"INSTAX3D_DEV_PLUGINS names the file {self.value}, which is not there")
        name = module_name(path)
        other = getattr(sys.modules.get(name), "__file__", None)
        if other is not None and Path(other) != path:
            raise BrokenPluginError(f"{self.value} and {other} are both loaded as {name}; rename one")
        spec = spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise BrokenPluginError(f"INSTAX3D_DEV_PLUGINS names {self.value}; a file of plugins ends in {_PYTHON}")
        module = module_from_spec(spec)
        sys.modules[name] = module  # for the targets of its specs, and for classes that look up their module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def module_name(path: Path) -> str:
    """The name under which a file is loaded, wherever it lies: no library of the same name is hidden by it."""
    return _PREFIX + re.sub(r"\W", "_", path.stem)


def points_of(variable: str) -> Iterator[EntryPoint]:
    """The entry points that a value of ``INSTAX3D_DEV_PLUGINS`` stands for: names of modules, and paths, by commas."""
    for item in filter(None, map(str.strip, variable.split(","))):
        is_file = item.endswith(_PYTHON) or "/" in item or "\\" in item
        yield FilePoint(item, item, GROUP) if is_file else EntryPoint(item, item, GROUP)
