"""How far an image is from its target: the training losses, and PSNR and SSIM for evaluation.

SSIM is that of 3DGS (Kerbl et al. 2023): an 11x11 Gaussian window of sigma 1.5 over zero padding, constants 0.01^2 and
0.03^2, averaged over pixels and channels.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from instax3d.geometry.numba_threads import start_numba_threads

from . import _photometric_cpu as kernels

_NO_WEIGHTS = np.empty((0, 0, 0), np.float32)


class _CpuLoss(torch.autograd.Function):
    """The fused loss: one pass for the value, one for the gradient, both in forward."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, weight: Tensor | None, ssim_weight: float) -> Tensor:
        start_numba_threads()
        height, width = image.shape[2:]
        planes = image.shape[0] * 3
        images, targets = (t.contiguous().numpy().reshape(planes, height, width) for t in (image, target))
        weights = _NO_WEIGHTS if weight is None else weight[:, 0].contiguous().numpy()
        needs_gradient = ctx.needs_input_grad[0]
        derivatives = np.empty((3, planes, height, width) if needs_gradient else (3, 0, 0, 0), np.float32)
        sums = np.empty((kernels.tasks(planes, height, width), 2))
        kernels.measure(images, targets, weights, derivatives, sums)
        l1, dissimilarity = sums.sum(0) / image.numel()
        if needs_gradient:
            gradient = torch.empty(image.shape)
            kernels.differentiate(
                images,
                targets,
                weights,
                derivatives,
                np.float32((1 - ssim_weight) / image.numel()),
                np.float32(ssim_weight / image.numel()),
                gradient.numpy().reshape(planes, height, width),
            )
            ctx.save_for_backward(gradient)
        return torch.tensor((1 - ssim_weight) * l1 + ssim_weight * dissimilarity, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient if grad == 1 else gradient * grad, None, None, None


def _ssim_map(
    image: Float[Tensor, "views 3 h w"], target: Float[Tensor, "views 3 h w"]
) -> Float[Tensor, "views 3 h w"]:
    """SSIM around each pixel, in plain torch."""
    window = torch.from_numpy(kernels.WINDOW).to(image)

    def blur(x: Tensor) -> Tensor:
        x = conv2d(x, window.expand(3, 1, 1, -1), padding=(0, kernels.RADIUS), groups=3)
        return conv2d(x, window[:, None].expand(3, 1, -1, 1), padding=(kernels.RADIUS, 0), groups=3)

    mean_x, mean_y = blur(image), blur(target)
    squares = blur(image * image + target * target) - mean_x * mean_x - mean_y * mean_y
    product = blur(image * target) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + kernels.C1) / (mean_x * mean_x + mean_y * mean_y + kernels.C1)
    return luminance * (2 * product + kernels.C2) / (squares + kernels.C2)


def photometric_loss(
    image: Float[Tensor, "views 3 h w"],
    target: Float[Tensor, "views 3 h w"],
    *,
    ssim_weight: float = 0.2,
    weight: Float[Tensor, "views 1 h w"] | None = None,
) -> Float[Tensor, ""]:
    """``(1 - ssim_weight) * L1 + ssim_weight * (1 - SSIM)``, the mean over pixels and channels (3DGS, Eq. 7).

    ``image`` and ``target`` are colors in [0, 1]; ``weight`` multiplies each pixel's loss before the mean.
    Differentiable with respect to ``image`` only. On the CPU by a fused float32 kernel, elsewhere in plain torch.
    """
    if image.device.type == "cpu":
        target, weight = target.detach().float(), None if weight is None else weight.detach().float()
        loss: Tensor = _CpuLoss.apply(image.float(), target, weight, ssim_weight)
        return loss
    loss = (1 - ssim_weight) * (image - target).abs() + ssim_weight * (1 - _ssim_map(image, target))
    return (loss if weight is None else weight * loss).mean()


class _CpuAlphaLoss(torch.autograd.Function):
    """The value and its gradient in one pass."""

    @staticmethod
    def forward(ctx: Any, alpha: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        start_numba_threads()
        values, targets = (t.contiguous().numpy().reshape(-1) for t in (alpha, target))
        weights = _NO_WEIGHTS.reshape(-1) if weight is None else weight.contiguous().numpy().reshape(-1)
        gradient, sums = torch.empty(alpha.shape), np.empty(kernels.chunks(len(values)))
        kernels.absolute(values, targets, weights, np.float32(1 / len(values)), sums, gradient.numpy().reshape(-1))
        ctx.save_for_backward(gradient)
        return torch.tensor(sums.sum() / len(values), dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * grad, None, None


def alpha_loss(
    alpha: Float[Tensor, "views 1 h w"],
    target: Float[Tensor, "views 1 h w"],
    *,
    weight: Float[Tensor, "views 1 h w"] | None = None,
) -> Float[Tensor, ""]:
    """The mean over pixels of ``weight * |alpha - target|``. Differentiable with respect to ``alpha`` only."""
    if alpha.device.type == "cpu":
        target, weight = target.detach().float(), None if weight is None else weight.detach().float()
        loss: Tensor = _CpuAlphaLoss.apply(alpha.float(), target, weight)
        return loss
    error = (alpha - target).abs()
    return (error if weight is None else weight * error).mean()


def psnr(image: Float[Tensor, "views 3 h w"], target: Float[Tensor, "views 3 h w"]) -> Float[Tensor, "views"]:
    """Peak signal-to-noise ratio of each view in dB, at most 100, for colors in [0, 1] (the image is clamped)."""
    error = (image.detach().clamp(0, 1) - target.detach()).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()


def ssim(image: Float[Tensor, "views 3 h w"], target: Float[Tensor, "views 3 h w"]) -> Float[Tensor, "views"]:
    """Structural similarity of each view, at most 1, for colors in [0, 1] (the image is clamped)."""
    image, target = image.detach().clamp(0, 1), target.detach()
    if image.device.type == "cpu":
        return torch.tensor([_cpu_ssim(*pair) for pair in zip(image.float(), target.float(), strict=True)])
    return _ssim_map(image, target).mean((1, 2, 3))


def _cpu_ssim(image: Float[Tensor, "3 h w"], target: Float[Tensor, "3 h w"]) -> float:
    """SSIM by the loss's kernel, in a tenth of torch's time."""
    start_numba_threads()
    sums = np.empty((kernels.tasks(*image.shape), 2))
    pixels, targets = (t.contiguous().numpy() for t in (image, target))
    kernels.measure(pixels, targets, _NO_WEIGHTS, np.empty((3, 0, 0, 0), np.float32), sums)
    return 1 - float(sums.sum(0)[1]) / image.numel()
