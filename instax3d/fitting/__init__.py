"""Fits any parametric head to what was seen of a real one."""

from .multiview import fit_head, mesh_from_rig, place_head
from .photo import PhotoFit, fit_photo

__all__ = ["PhotoFit", "fit_head", "fit_photo", "mesh_from_rig", "place_head"]
