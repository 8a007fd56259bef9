"""A head fitted in the head crop, and with its help the matte of the whole photo."""

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
from .head_crop import HeadCrop, cut_head_crop, photo_arrays


def fit_in_head_crop(
    model: HeadModel,
    photo: Photo,
    head_crop: HeadCrop,
    *,
    alpha: Float[ndarray, "s s"] | None = None,
    bald: bool = False,
) -> PhotoFit:
    """`fit_photo` in the photo's head crop; ``alpha`` is the person's matte there, where it is known."""
    crop = head_crop.crop
    principal_point = np.array(photo.image.shape[:0:-1]) / 2 * crop.scale + crop.offset
    return fit_photo(
        model,
        torch.as_tensor(head_crop.landmarks, dtype=torch.float32),
        crop.size,
        crop.size,
        focal=None if photo.focal is None else photo.focal * crop.scale,
        principal_point=(float(principal_point[0]), float(principal_point[1])),
        image=torch.as_tensor(head_crop.rgb.transpose(2, 0, 1).copy(), dtype=torch.float32),
        alpha=None if alpha is None else torch.as_tensor(alpha, dtype=torch.float32)[None],
        bald=bald,
    )


def person_alpha(photo: Photo, model: HeadModel) -> Float[Tensor, "1 h w"]:
    """The matte of the photo's person, in [0, 1].

    The file's own transparency is used as it is. Else ``model`` is fitted to the face, and the person is cut out in the
    head crop, about four widths of the face; what lies beyond it counts as background.

    Raises:
        FitError: the landmarks are not those of a face.
    """
    if photo.alpha is not None:
        return photo.alpha
    source = photo_arrays(photo)
    head_crop = cut_head_crop(source)
    fit, size = fit_in_head_crop(model, photo, head_crop), head_crop.crop.size
    viewmat, K = (matrix[0].numpy().astype(np.float64) for matrix in (fit.cameras.viewmats, fit.cameras.Ks))
    head = rasterize(fit.vertices.numpy().astype(np.float64), model.faces.numpy(), viewmat, K, size, size).mask
    alpha: ndarray = cut_out(head_crop, head).astype(np.float32)
    scale, (x, y) = head_crop.crop.scale, head_crop.crop.offset
    if scale > 1.33:
        alpha = cv2.GaussianBlur(alpha, (0, 0), 0.4 * scale)
    # OpenCV counts pixel centers at whole numbers, we at halves
    to_head_crop = np.array([[scale, 0, x + 0.5 * scale - 0.5], [0, scale, y + 0.5 * scale - 0.5]])
    height, width = source.rgb.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    placed = cv2.warpAffine(alpha, to_head_crop, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return torch.from_numpy(np.clip(placed, 0, 1))[None]
