"""What is written for gsplat runs on the CPU rasterizer: its arguments, and its densification strategies."""

import inspect

import gsplat
import pytest
import torch
from gsplat import DefaultStrategy
from instax3d_plugins.cpu import rasterization


def splats(count=80):
    generator = torch.Generator().manual_seed(0)
    return torch.nn.ParameterDict(
        {
            "means": torch.randn(count, 3, generator=generator) * 0.5,
            "quats": torch.randn(count, 4, generator=generator),
            "scales": torch.randn(count, 3, generator=generator) * 0.3 - 2.5,
            "opacities": torch.randn(count, generator=generator),
            "sh0": torch.randn(count, 1, 3, generator=generator),
        }
    )


def test_the_signature_is_that_of_gsplat():
    ours, theirs = (inspect.signature(function).parameters for function in (rasterization, gsplat.rasterization))
    # a later gsplat may have added to the end
    assert list(ours) == list(theirs)[: len(ours)]
    for name, parameter in ours.items():
        if name not in ("packed", "rolling_shutter"):
            assert parameter.default == theirs[name].default, name


@pytest.mark.parametrize("absgrad", [False, True])
def test_default_strategy(absgrad):
    params = splats()
    optimizers = {name: torch.optim.Adam([{"params": p, "lr": 1e-3, "name": name}]) for name, p in params.items()}
    strategy = DefaultStrategy(
        refine_start_iter=0, refine_every=3, grow_grad2d=1e-5, absgrad=absgrad, refine_scale2d_stop_iter=100
    )
    strategy.check_sanity(params, optimizers)
    state = strategy.initialize_state()
    view = torch.eye(4)[None].repeat(2, 1, 1)
    view[:, 2, 3] = torch.tensor([3.0, 4.0])
    K = torch.tensor([[40.0, 0, 24], [0, 40, 24], [0, 0, 1]])[None].repeat(2, 1, 1)
    counts = []
    for step in range(7):
        image, _, meta = rasterization(
            params["means"],
            params["quats"],
            params["scales"].exp(),
            params["opacities"].sigmoid(),
            params["sh0"],
            view,
            K,
            48,
            48,
            sh_degree=0,
            absgrad=absgrad,
        )
        strategy.step_pre_backward(params, optimizers, state, step, meta)
        image.square().mean().backward()
        strategy.step_post_backward(params, optimizers, state, step, meta)
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        counts.append(len(params["means"]))
    assert counts[0] == 80
    assert counts[-1] > 80
    assert all(p.isfinite().all() for p in params.values())
