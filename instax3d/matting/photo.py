"""A head fitted in the working square, and by its help the matte of the whole photo."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from instax3d.fitting import PhotoFit, fit_photo
from instax3d.geometry.mesh_raster import rasterize
from instax3d.headmodel import HeadModel
from instax3d.types import Photo

from .cutout import cut_out
from .square import WorkingSquare, picture, working_square


def fit_in_square(
    model: HeadModel,
    photo: Photo,
    square: WorkingSquare,
    *,
    alpha: Float[ndarray, "s s"] | None = None,
    bald: bool = False,
) -> PhotoFit:
    """`fit_photo` in the photo's working square; ``alpha`` is the person's outline there, where it is known."""
    crop = square.crop
    middle = np.array(photo.image.shape[:0:-1]) / 2 * crop.scale + crop.offset
    return fit_photo(
        model,
        torch.as_tensor(square.landmarks, dtype=torch.float32),
        crop.size,
        crop.size,
        focal=None if photo.focal is None else photo.focal * crop.scale,
        principal_point=(float(middle[0]), float(middle[1])),
        image=torch.as_tensor(square.rgb.transpose(2, 0, 1).copy(), dtype=torch.float32),
        alpha=None if alpha is None else torch.as_tensor(alpha, dtype=torch.float32)[None],
        bald=bald,
    )


def person_alpha(photo: Photo, model: HeadModel) -> Float[Tensor, "1 h w"]:
    """How far each pixel of the photo belongs to its person, in [0, 1].

    The file's own transparency is taken as it is. Else ``model`` is fitted to the face, and the person is cut out in a
    square of about four widths of the face; what lies beyond it counts as ground.
    """
    if photo.alpha is not None:
        return photo.alpha
    source = picture(photo)
    square = working_square(source)
    fit, size = fit_in_square(model, photo, square), square.crop.size
    viewmat, K = (matrix[0].numpy().astype(np.float64) for matrix in (fit.cameras.viewmats, fit.cameras.Ks))
    head = rasterize(fit.vertices.numpy().astype(np.float64), model.faces.numpy(), viewmat, K, size, size).mask
    alpha: ndarray = cut_out(square, head).astype(np.float32)
    scale, (x, y) = square.crop.scale, square.crop.offset
    if scale > 1.33:
        alpha = cv2.GaussianBlur(alpha, (0, 0), 0.4 * scale)
    # OpenCV counts pixel centers at whole numbers, we at halves
    to_square = np.array([[scale, 0, x + 0.5 * scale - 0.5], [0, scale, y + 0.5 * scale - 0.5]])
    height, width = source.rgb.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    placed = cv2.warpAffine(alpha, to_square, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return torch.from_numpy(np.clip(placed, 0, 1))[None]
