"""A fitted head drawn over the views it was fitted to, and the reprojection error of its landmarks."""

from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from instax3d.geometry.landmarks68 import INNER, OUTER_EYE_CORNERS
from instax3d.geometry.mesh_raster import project, rasterize
from instax3d.io.images import to_uint8
from instax3d.types import HeadMesh, Views

LEAST_SIDE = 768
"""Smaller views are enlarged to this side, so that a mesh of many triangles can be seen."""
DETECTED, PROJECTED, MESH, PERSON, WIRES = (0, 200, 0), (230, 30, 30), (0, 200, 230), (230, 0, 200), (40, 90, 200)
"""RGB: detected landmarks; those of the head; the head's outline; the person's; the triangles."""
_WIRE_SHARE = 0.3
"""Opacity of the wires."""
_DEPTH_SLACK = 0.004
"""Meters that a vertex may lie behind what is seen there and still be drawn."""


def overlay(mesh: HeadMesh, views: Views, index: int) -> Float[Tensor, "3 h w"]:
    """One view twice, side by side: with landmarks (green detected, red the head's), and with wires and outlines (blue
    the head's, violet the person's)."""
    height, width = views.cameras.height, views.cameras.width
    factor = max(1.0, LEAST_SIDE / max(height, width))
    camera = views.cameras[index].scaled(factor)
    size = (camera.width, camera.height)
    image = cv2.resize(to_uint8(views.images[index]).numpy(), size, interpolation=cv2.INTER_CUBIC)
    person = cv2.resize(views.alpha[index, 0].numpy(), size, interpolation=cv2.INTER_LINEAR) > 0.5
    vertices, faces = mesh.vertices.detach().double().numpy(), mesh.faces.numpy()
    viewmat, K = camera.viewmats[0].numpy(), camera.Ks[0].numpy()
    raster = rasterize(vertices, faces, viewmat, K, camera.width, camera.height)
    pixels = project(vertices, viewmat, K)

    left, right = image.copy(), image.copy()
    face = views.faces[index] if views.faces else None
    projected = None if mesh.landmarks is None else project(mesh.landmarks.detach().double().numpy(), viewmat, K)[:, :2]
    if face is not None:
        detected = face.require_landmarks68().numpy() * [camera.width / width, camera.height / height]
        if projected is not None:
            for a, b in zip(detected, projected, strict=True):
                _line(left, a, b, PROJECTED)
        for point in detected:
            _dot(left, point, DETECTED)
    if projected is not None:
        for point in projected:
            _dot(left, point, PROJECTED)
    wires = right.copy()
    slack = _DEPTH_SLACK * mesh.units_per_meter
    visible = _visible(pixels, raster.depth, slack)
    visible_faces = faces[visible[faces].all(1)]
    corners = _drawn(pixels[:, :2][visible_faces]).round().astype(np.int32)
    cv2.polylines(wires, list(corners), True, WIRES, 1, cv2.LINE_AA, shift=4)
    right = cv2.addWeighted(wires, _WIRE_SHARE, right, 1 - _WIRE_SHARE, 0)
    for mask, color in ((person, PERSON), (raster.mask, MESH)):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(right, contours, -1, color, 2, cv2.LINE_AA)
    return torch.from_numpy(np.hstack([left, right])).permute(2, 0, 1).float() / 255


def _visible(pixels: Float[ndarray, "n 3"], depth: Float[ndarray, "h w"], slack: float) -> Bool[ndarray, "n"]:
    """Vertices that nothing hides."""
    x, y = np.floor(pixels[:, 0]), np.floor(pixels[:, 1])
    inside = (x >= 0) & (y >= 0) & (x < depth.shape[1]) & (y < depth.shape[0]) & (pixels[:, 2] > 0)
    visible = np.zeros(len(pixels), bool)
    seen = depth[y[inside].astype(int), x[inside].astype(int)]
    visible[inside] = pixels[inside, 2] < seen + slack
    return visible


def _drawn(pixels: Float[ndarray, "*n 2"]) -> Float[ndarray, "*n 2"]:
    """Where OpenCV draws them: pixel centers at whole numbers, in sixteenths."""
    return np.asarray((pixels - 0.5) * 16)


def _dot(image: UInt8[ndarray, "h w 3"], at: Float[ndarray, "2"], color: tuple[int, int, int]) -> None:
    if np.abs(at).max() < 1e5:
        x, y = _drawn(at).round().astype(int).tolist()
        cv2.circle(image, (x, y), 40, color, -1, cv2.LINE_AA, shift=4)


def _line(
    image: UInt8[ndarray, "h w 3"], a: Float[ndarray, "2"], b: Float[ndarray, "2"], color: tuple[int, int, int]
) -> None:
    if max(np.abs(a).max(), np.abs(b).max()) < 1e5:
        (x0, y0), (x1, y1) = _drawn(np.asarray([a, b])).round().astype(int).tolist()
        cv2.line(image, (x0, y0), (x1, y1), color, 1, cv2.LINE_AA, shift=4)


def reprojection(mesh: HeadMesh, views: Views) -> list[dict[str, Any]]:
    """How far the head's landmarks lie from the detected ones, for each view with a face.

    ``inner`` is of brows, nose, eyes and mouth; ``all`` includes the jaw line, whose landmarks detectors slide to the
    outline that they see, while the head's stay on its skin. Pixels, and percent of the distance between the outer
    corners of the eyes in that view. ``silhouette_iou`` compares the head with the person's outline, hair, clothes and
    all: it is meaningful for bald heads only. Of a head that drew the views itself (metric ``known``) only the photo
    tells.
    """
    if mesh.landmarks is None:
        return []
    drawn = mesh.metrics.get("known") == 1 and views.photo_index is not None
    projected = views.cameras.project(mesh.landmarks.detach())[..., :2]
    rows = []
    for index, face in enumerate(views.faces):
        if face is None or (drawn and index != views.photo_index):
            continue
        detected = face.require_landmarks68()
        error = (projected[index] - detected).norm(dim=1)
        right, left = detected[list(OUTER_EYE_CORNERS)]
        eye_distance = float((right - left).norm())
        row: dict[str, Any] = {"view": index, "outer_eye_corners_px": round(eye_distance, 2)}
        for name, values in (("inner", error[INNER]), ("all", error)):
            row[f"{name}_median_px"] = round(float(values.median()), 3)
            row[f"{name}_mean_px"] = round(float(values.mean()), 3)
            row[f"{name}_median_percent"] = round(100 * float(values.median()) / max(eye_distance, 1e-6), 2)
        row["silhouette_iou"] = round(_iou(mesh, views, index), 3)
        rows.append(row)
    return rows


def _iou(mesh: HeadMesh, views: Views, index: int) -> float:
    camera = views.cameras[index]
    raster = rasterize(
        mesh.vertices.detach().double().numpy(),
        mesh.faces.numpy(),
        camera.viewmats[0].numpy(),
        camera.Ks[0].numpy(),
        camera.width,
        camera.height,
    )
    person = views.alpha[index, 0].numpy() > 0.5
    return float((raster.mask & person).sum() / max((raster.mask | person).sum(), 1))
