"""Fits any parametric head to what was seen of a real one."""

from .photo import PhotoFit, fit_photo

__all__ = ["PhotoFit", "fit_photo"]
