"""Messages of the packages' loggers on the user's display."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from instax3d.io.progress import Progress


class _Notes(logging.Handler):
    def __init__(self, display: Progress) -> None:
        super().__init__(logging.INFO)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.note(record.getMessage())


@contextmanager
def logged_to(display: Progress) -> Iterator[None]:
    """While this lasts, what is logged under ``instax3d`` at level INFO or above becomes a note."""
    logger, handler = logging.getLogger("instax3d"), _Notes(display)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
