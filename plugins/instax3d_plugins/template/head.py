"""The fitted head as arrays, and the last millimeters of its fit: a warp of landmarks and outline to their pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree

from instax3d.geometry.landmarks68 import CHIN, INNER, INNER_LIPS, OUTER_LIPS
from instax3d.geometry.mesh import unique_edges, vertex_normals
from instax3d.geometry.mesh_raster import MeshRaster, project, rasterize
from instax3d.geometry.sample_image import sample
from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.matting.masks import signed_distance

from .labels import SKIN, Labels

# Chosen by eye on the eight photos of docs/template_views.md, unless a line says otherwise.
DEPTH_TOLERANCE = 0.004
"""Meters by which a point may lie behind the surface that the photo sees and still count as seen."""
_LANDMARK_REACH, _OUTLINE_REACH = 0.026, 0.020
"""Standard deviations of the warp's Gaussians around landmarks and outline points, meters."""
_INSIDE_OUTLINE = 5.0
"""Pixels from the outline to where its label is read."""
_SNAP_STIFFNESS = 0.3
"""Regularization of the warp; a Gaussian has 1 at its center."""
_EAR_REACH = 0.025
"""Meters over which the hidden outline of an ear follows what is seen of it."""
_TEETH = 0.006
"""Meters from the lips back to the teeth."""
_LARGEST_OUTLINE_MOVES = (0.012, 0.003)
"""Meters, by round: the second one reduces what the first one's stiffness leaves of the gap, a third."""


@dataclass(frozen=True, eq=False)
class PhotoCamera:
    """The photo's camera for the head crop."""

    viewmat: Float[ndarray, "4 4"]
    K: Float[ndarray, "3 3"]
    size: int

    @property
    def center(self) -> Float[ndarray, "3"]:
        """Its position in the world, meters."""
        place: ndarray = -self.viewmat[:3, :3].T @ self.viewmat[:3, 3]
        return place

    @property
    def azimuth(self) -> float:
        """Degrees from the front of the face towards +x."""
        return float(np.degrees(np.arctan2(self.center[0], self.center[2])))

    def project(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Pixel x, pixel y and depth of world points."""
        return project(points, self.viewmat, self.K)

    def rasterize(self, vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"]) -> MeshRaster:
        """The photo's view of a mesh."""
        return rasterize(vertices, faces, self.viewmat, self.K, self.size, self.size)

    def facing(self, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """Cosine between each normal and the direction to the camera."""
        towards = self.center - points
        cosine: ndarray = (normals * towards).sum(1) / np.linalg.norm(towards, axis=1)
        return cosine


@dataclass(frozen=True, eq=False)
class Head:
    """A head model fitted to the photo, in the world."""

    vertices: Float[ndarray, "n 3"]
    neutral: Float[ndarray, "n 3"]
    """The model's mean head, by which left and right are matched."""
    faces: Int[ndarray, "f 3"]
    regions: Mapping[str, Bool[ndarray, "n"]]
    landmarks: Float[ndarray, "68 3"]
    landmark_corners: Int[ndarray, "68 3"]
    landmark_weights: Float[ndarray, "68 3"]
    camera: PhotoCamera

    @cached_property
    def skin(self) -> Bool[ndarray, "n"]:
        """Vertices of the outer skin: no eyeballs, nothing inside the mouth."""
        return np.asarray(
            np.logical_or.reduce([self.regions[name] for name in ("face", "scalp", "ears", "neck", "lips")])
        )

    @cached_property
    def skin_faces(self) -> Int[ndarray, "g 3"]:
        """Triangles of the outer skin."""
        return np.asarray(self.faces[self.skin[self.faces].all(1)])

    @cached_property
    def normals(self) -> Float[ndarray, "n 3"]:
        """Unit normals of the outer skin."""
        return vertex_normals(self.vertices, self.skin_faces)

    @cached_property
    def raster(self) -> MeshRaster:
        """The photo's view of the head."""
        return self.camera.rasterize(self.vertices, self.faces)

    def flattened(self, hidden: Bool[ndarray, "n"]) -> "Head":
        """The head with some vertices on a membrane (zero Laplacian) spanned by their surroundings."""
        if not hidden.any():
            return self
        edges, _ = unique_edges(self.skin_faces)
        count = len(self.vertices)
        links = sp.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
        links = (links + links.T).tocsr()
        moving = np.flatnonzero(hidden & (np.asarray(links.sum(1)).ravel() > 0))
        laplacian = (sp.diags(np.asarray(links.sum(1)).ravel()) - links).tocsr()[moving]
        known = np.ones(count, bool)
        known[moving] = False
        vertices = self.vertices.copy()
        vertices[moving] = spsolve(laplacian[:, moving].tocsc(), -laplacian[:, known] @ self.vertices[known])
        return replace(self, vertices=vertices)

    def above(self, height: float) -> Int[ndarray, "g 3"]:
        """The triangles wholly above a height: without the shoulders that some models have."""
        return np.asarray(self.faces[(self.vertices[:, 1] > height)[self.faces].all(1)])

    @property
    def meters_per_pixel(self) -> float:
        """Size of a pixel of the head crop at the bridge of the nose."""
        return float(self.camera.project(self.landmarks[27:28])[0, 2] / self.camera.K[0, 0])

    def seen(self, region: str) -> Bool[ndarray, "s s"]:
        """Where the photo sees a region of the head."""
        mask = self.raster.mask
        mask[mask] = self.regions[region][self.faces].all(1)[self.raster.face[mask]]
        return mask

    def rim(self, within_pixels: float = 3.0) -> Int[ndarray, "m"]:
        """Skin vertices on the head's outline in the photo."""
        grazing = np.abs(self.camera.facing(self.vertices, self.normals)) < 0.25
        candidates = np.flatnonzero(grazing & self.skin)
        depth_inside = signed_distance(self.raster.mask)
        return candidates[sample(depth_inside, self.camera.project(self.vertices[candidates])) < within_pixels]


def make_head(model: HeadModel, parameters: HeadParameters, camera: PhotoCamera) -> Head:
    """Evaluate the model in the photo's camera."""
    vertices = model(parameters)
    return Head(
        vertices=vertices.numpy().astype(np.float64),
        neutral=model(model.neutral()).numpy().astype(np.float64),
        faces=model.faces.numpy(),
        regions={name: mask.numpy() for name, mask in model.regions.items()},
        landmarks=model.landmarks(vertices).numpy().astype(np.float64),
        landmark_corners=model.landmark_faces.numpy(),
        landmark_weights=model.landmark_weights.numpy().astype(np.float64),
        camera=camera,
    )


def snap(
    head: Head,
    landmarks: Float[ndarray, "68 2"],
    alpha: Float[ndarray, "s s"],
    valid: Bool[ndarray, "s s"],
    labels: Labels,
) -> Head:
    """Move the surface parallel to the image plane so that inner landmarks and the outline meet their pixels.

    A regularized sum of Gaussians around landmarks and outline. Where the person's outline is not skin the head may end
    within it: there it is only pulled in.
    """
    at = head.camera.project(head.landmarks[INNER])
    moves = _in_world(head.camera, landmarks[INNER] - at[:, :2], at[:, 2])
    for largest in _LARGEST_OUTLINE_MOVES:
        rim, outline = _to_outline(head, alpha, valid, labels)
        length = np.linalg.norm(outline, axis=1, keepdims=True)
        outline *= np.minimum(1, largest / np.maximum(length, 1e-9))
        head = _warped(head, rim, np.concatenate([moves, outline]))
        moves = np.zeros_like(moves)  # landmarks stay where they are now
    return head


def _to_outline(
    head: Head, alpha: Float[ndarray, "s s"], valid: Bool[ndarray, "s s"], labels: Labels
) -> tuple[Int[ndarray, "m"], Float[ndarray, "m 3"]]:
    """Vertices on the head's outline that should meet the person's, and their moves in the world."""
    camera, rim = head.camera, head.rim()
    rim = rim[head.vertices[rim, 1] > head.landmarks[CHIN, 1] + 0.01]
    at = camera.project(head.vertices[rim])
    outside = cv2.GaussianBlur(-signed_distance(alpha > 0.5), (0, 0), 2)
    slope = np.stack(np.gradient(outside)[::-1], 2)
    slope /= np.maximum(np.linalg.norm(slope, axis=2, keepdims=True), 1e-6)
    gap, direction = sample(outside, at), sample(slope, at)
    on_outline = at[:, :2] - direction * (gap + _INSIDE_OUTLINE)[:, None]
    bare = sample(labels.of(SKIN).astype(np.float32), on_outline) > 0.7
    near = (np.abs(gap) < 40) & (sample(valid.astype(np.float32), at) > 0.5)
    usable = near & ((gap > 0) | bare | labels.bald)
    # what hair or shade hides of an ear follows what is seen near it, at most to the edge
    of_ear = head.regions["ears"][rim]
    visible, rest = np.flatnonzero(of_ear & usable), np.flatnonzero(of_ear & near & ~usable)
    if len(visible):
        away, nearest = cKDTree(head.vertices[rim[visible]]).query(head.vertices[rim[rest]])
        along = gap[visible[nearest]] * np.exp(-((away / _EAR_REACH) ** 2) / 2)
        gap[rest] = np.maximum(gap[rest], np.minimum(along, 0))
        usable |= of_ear & near
    rim, at, gap, direction = rim[usable], at[usable], gap[usable], direction[usable]
    _, thinned = np.unique((head.vertices[rim] / 0.008).round().astype(int), axis=0, return_index=True)
    return rim[thinned], _in_world(camera, (-direction * gap[:, None])[thinned], at[thinned, 2])


def _warped(head: Head, rim: Int[ndarray, "m"], moves: Float[ndarray, "n 3"]) -> Head:
    """The head with inner landmarks and then ``rim`` moved by about ``moves``, and smoothly what is around them."""
    anchors = np.concatenate([head.landmarks[INNER], head.vertices[rim]])
    reach = np.r_[np.full(51, _LANDMARK_REACH), np.full(len(rim), _OUTLINE_REACH)]

    def kernel(points: ndarray) -> ndarray:
        squared = ((points[:, None] - anchors[None]) ** 2).sum(2)
        return np.asarray(np.exp(-squared / (2 * reach**2)))

    weights = np.linalg.solve(kernel(anchors) + _SNAP_STIFFNESS * np.eye(len(anchors)), moves)
    vertices = head.vertices + kernel(head.vertices) @ weights
    corners = vertices[head.landmark_corners]
    return replace(head, vertices=vertices, landmarks=(corners * head.landmark_weights[..., None]).sum(1))


def _in_world(camera: PhotoCamera, pixels: Float[ndarray, "n 2"], depth: Float[ndarray, "n"]) -> Float[ndarray, "n 3"]:
    """World moves, meters, parallel to the image plane, of moves in pixels at a depth."""
    sideways = pixels * (depth / camera.K[0, 0])[:, None]
    moved: ndarray = sideways @ camera.viewmat[:2, :3]
    return moved


def fill_mouth(head: Head) -> Head:
    """Bring what lies inside the mouth near the lips: it bears the photo's teeth, also from the side."""
    inner = head.landmarks[INNER_LIPS]
    outer = head.landmarks[OUTER_LIPS]
    low, high = outer.min(0) - 0.01, outer.max(0) + 0.01
    eyes = head.regions["eyeballs"]
    inside = ~head.skin & ~eyes & (head.vertices[:, :2] > low[:2]).all(1) & (head.vertices[:, :2] < high[:2]).all(1)
    # the line of the lips bends backwards to the corners
    curve = np.polyfit(inner[:, 0], inner[:, 2], 2)
    behind = np.polyval(curve, head.vertices[:, 0]) - head.vertices[:, 2]
    nearer = np.where(behind > _TEETH, _TEETH + 0.25 * (behind - _TEETH), behind)
    vertices = head.vertices.copy()
    vertices[inside, 2] += (behind - nearer)[inside]
    return replace(head, vertices=vertices)


def mirrored_vertices(neutral: Float[ndarray, "n 3"]) -> Int[ndarray, "n"]:
    """For each vertex the nearest one on the other side."""
    nearest: ndarray = cKDTree(neutral).query(neutral * [-1, 1, 1], workers=-1)[1]
    return nearest
