"""Announces the compilation of kernels, which happens once per machine and takes a while."""

import functools
import logging
from typing import Any

from numba.core import event

logger = logging.getLogger("instax3d.cpu")

_PACKAGE = __name__.rpartition(".")[0]


class _Listener(event.Listener):
    """Logs one line at the first compilation of a kernel of this package; kernels found in the cache are silent."""

    def __init__(self) -> None:
        self._announced = False

    def on_start(self, event: Any) -> None:
        kernel = event.data["dispatcher"].py_func
        if not self._announced and kernel.__module__.rpartition(".")[0] == _PACKAGE:
            self._announced = True
            logger.info("Compiling the CPU renderer's kernels: once per machine, about 20 seconds")

    def on_end(self, event: Any) -> None:
        pass


@functools.cache
def announce_compilation() -> None:
    """From now on, log to ``instax3d.cpu`` at level INFO when a kernel of this package must be compiled."""
    event.register("numba:compile", _Listener())
