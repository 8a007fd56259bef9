"""The version of this package; a room of its own, so that every other can name it."""

__version__ = "0.1.0"
