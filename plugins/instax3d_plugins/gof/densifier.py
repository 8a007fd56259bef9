"""The density control of Gaussian Opacity Fields (Yu et al., ACM TOG 2024): absolute gradients with a quantile."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from instax3d.splats.density_control.control import AdaptiveDensityControl, Candidates, Gradient

from .config import GOFConfig


class GOF(AdaptiveDensityControl[GOFConfig]):
    """Grows Gaussians whose gradient exceeds a threshold, and an equal share of all by the absolute gradient, which
    needs no threshold of its own. A clone is moved to a random position within its Gaussian.
    """

    jitter = True

    def gradient_kinds(self) -> tuple[Gradient, ...]:
        return "signed", "absolute"

    def select(self, small: Bool[Tensor, "n"]) -> Candidates:
        signed, absolute = self.gradients["signed"].mean(), self.gradients["absolute"].mean()
        above = signed >= self.config.grow_grad2d
        ranks = torch.maximum(_ranks(signed), _ranks(absolute))
        has_gradient = absolute > 0
        share = int(above.sum())
        threshold = torch.topk(absolute, share).values[-1] if share else absolute.new_tensor(torch.inf)
        return Candidates(mask=above | (absolute >= threshold), priority=torch.where(has_gradient, ranks, 0.0))


def _ranks(values: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Rank of each value as a share of all, in (0, 1]."""
    ranks = torch.empty_like(values)
    ranks[values.argsort()] = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device) / len(values)
    return ranks
