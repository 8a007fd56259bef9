"""FLAME as a head model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.assets import require
from instax3d.assets.usage import resolve
from instax3d.errors import AssetError
from instax3d.headmodel import BakedHead, HeadModel, HeadParameters
from instax3d.plugin import AssetRef

from .config import FlameConfig
from .contour import Rule, landmarks_by_rule
from .data import SHAPES, FlameData, LandmarkEmbedding, read_landmarks, read_masks, read_model
from .lbs import Lbs

REGIONS = {
    "face": ("face",),
    "scalp": ("scalp",),
    "ears": ("left_ear", "right_ear"),
    "neck": ("neck", "boundary"),
    "eyeballs": ("left_eyeball", "right_eyeball"),
    "lips": ("lips",),
}
"""The interface's regions as unions of FLAME's masks; the other masks keep their names."""


class FlameModel(HeadModel[FlameConfig]):
    """FLAME with its 68 landmarks; those of the jaw are fixed to the skin, as the core's fitting slides them itself.

    Shape and expression are in standard deviations, in FLAME's order. The origin is the model's own.
    """

    joint_names = ("root", "neck", "jaw", "eye_left", "eye_right")
    expression_bounds = (-3.0, 3.0)
    shape_components = SHAPES
    fitted_components = 100

    def __init__(self, config: FlameConfig, data: FlameData | None = None) -> None:
        """Read the model, unless its ``data`` are here already.

        Raises:
            AssetError: a file is absent, not a FLAME model, or of another version than the option says.
            UnsafeFileError: a file holds more than numbers.
        """
        super().__init__(config)
        data = data or _read(config)
        if data.landmarks is None or data.masks is None:
            missing = " and ".join(n for n in ("landmarks", "masks") if getattr(data, n) is None)
            raise AssetError(
                f"this FLAME model has no {missing}; name the files of {missing} as well (`instax3d assets list`)"
            )
        self.data, self.version = data, data.version
        self.name, self.identity = f"flame-{data.version}", data.identity
        count = config.expression_components
        self.expression_names = tuple(f"flame{number:03}" for number in range(1, count + 1))
        self.faces = torch.as_tensor(data.faces)
        faces, weights = _fixed_landmarks(data.landmarks)
        self.landmark_faces = self.faces[torch.as_tensor(faces)]
        self.landmark_weights = torch.as_tensor(weights, dtype=torch.float32)
        self.regions = {name: _mask(data, names) for name, names in REGIONS.items()}
        for name in data.masks:
            if name not in self.regions:
                self.regions[name] = _mask(data, (name,))
        self._lbs = Lbs(data, shapes=SHAPES, expressions=count)

    def __call__(self, parameters: HeadParameters) -> Float[Tensor, "vertices 3"]:
        """Posed vertices. Differentiable."""
        return self._lbs.vertices(parameters.shape, parameters.expression, parameters.pose)

    def at(self, parameters: HeadParameters, chosen: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen 3"]:
        """Some of the posed vertices. Differentiable."""
        return self._lbs.vertices(parameters.shape, parameters.expression, parameters.pose, chosen)

    def posed_joints(self, parameters: HeadParameters) -> Float[Tensor, "joints 3"]:
        """Posed joints. Differentiable."""
        return self._lbs.joints(parameters.shape, parameters.expression, parameters.pose)

    def landmarks_by_rule(
        self, vertices: Float[Tensor, "vertices 3"], pose: Float[Tensor, "5 3"], rule: Rule
    ) -> Float[Tensor, "68 3"]:
        """The 68 landmarks with the jaw line that DECA or FLAME_PyTorch chooses for a pose."""
        assert self.data.landmarks is not None
        return landmarks_by_rule(vertices, self.faces, self.data.landmarks, pose, rule)

    def bake(self, parameters: HeadParameters) -> BakedHead:
        """A head of this shape that moves without the model, derived from the user's own licensed files."""
        return BakedHead.of(self, **self._lbs.motion(parameters.shape))


def _fixed_landmarks(landmarks: LandmarkEmbedding) -> tuple[np.ndarray, np.ndarray]:
    """Faces [68] and weights [68, 3]; those of the jaw from the full embedding, or else as seen from the front."""
    if landmarks.full_faces is not None and landmarks.full_weights is not None:
        return landmarks.full_faces, landmarks.full_weights
    return (
        np.concatenate([landmarks.dynamic_faces[0], landmarks.static_faces]),
        np.concatenate([landmarks.dynamic_weights[0], landmarks.static_weights]),
    )


def _mask(data: FlameData, names: tuple[str, ...]) -> Tensor:
    assert data.masks is not None
    mask = torch.zeros(len(data.template), dtype=torch.bool)
    for name in names:
        if name not in data.masks:
            raise AssetError(f"the masks of FLAME lack {name!r}; download FLAME_masks.pkl again")
        vertices = torch.as_tensor(data.masks[name])
        if len(vertices) and not 0 <= int(vertices.min()) <= int(vertices.max()) < len(mask):
            raise AssetError(f"the mask {name!r} names vertices that this FLAME model does not have")
        mask[vertices] = True
    return mask


def _read(config: FlameConfig) -> FlameData:
    """The model that a configuration names, with landmarks and masks."""
    reference = next(m for m in FlameConfig.model_fields["model"].metadata if isinstance(m, AssetRef))
    name, located = resolve(reference, config.model)
    of_asset = name.removeprefix("flame-") if config.model in reference.names else None
    if of_asset and config.version not in (None, of_asset):
        raise AssetError(f"model={config.model} is not version={config.version}; drop one of them")
    data = read_model(located.path, config.version or of_asset)  # type: ignore[arg-type]
    if config.landmarks is not None:
        data = replace(data, landmarks=read_landmarks(_file("flame-landmarks", config.landmarks)))
    if config.masks is not None:
        data = replace(data, masks=read_masks(_file("flame-masks", config.masks)))
    return data


def _file(name: str, path: str) -> Path:
    return require(name, path).path
