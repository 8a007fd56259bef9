"""Fits any parametric head to landmarks, outlines and irises: `fit_photo` to one photo, `fit_head` to many views."""

from .monocular import PhotoFit, fit_photo
from .multiview import fit_head, mesh_from_rig, place_head

__all__ = ["PhotoFit", "fit_head", "fit_photo", "mesh_from_rig", "place_head"]
