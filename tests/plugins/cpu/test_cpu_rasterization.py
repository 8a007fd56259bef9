"""`instax3d_plugins.cpu.rasterization` against plain torch in float64: images, alpha, depth and every gradient."""

import pytest
import torch
from instax3d_plugins.cpu import rasterization, reference

NAMES = ("means", "quats", "scales", "opacities", "colors", "viewmats", "backgrounds")


def scene(count=60, cameras=2, width=45, height=37, seed=0, bands=None, channels=3):
    """Random Gaussians in front of cameras that are not quite alike, as float64 leaves."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    views = torch.eye(4, dtype=torch.float64).repeat(cameras, 1, 1)
    views[:, :3, :3] = reference.rotation_matrices(torch.tensor([1.0, 0, 0, 0]) + 0.1 * normal(cameras, 4))
    views[:, :3, 3] = torch.tensor([0.0, 0.0, 3.0]) + 0.2 * normal(cameras, 3)
    intrinsics = torch.zeros(cameras, 3, 3, dtype=torch.float64)
    intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 2, 2] = 40, 44, 1
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = width / 2 + 1, height / 2 - 2
    colors = uniform(count, channels) if bands is None else 0.5 * normal(count, bands, 3)
    tensors = {
        "means": normal(count, 3) * 0.5,
        "quats": normal(count, 4),
        "scales": 0.02 + 0.25 * uniform(count, 3) ** 2,
        "opacities": 0.05 + 0.9 * uniform(count),
        "colors": colors,
        "viewmats": views,
        "backgrounds": uniform(cameras, channels if bands is None else 3),
    }
    # float32 values, so that both sides see the same numbers
    tensors = {name: t.float().double().requires_grad_() for name, t in tensors.items()}
    return tensors, intrinsics.float().double(), width, height


def draw_reference(tensors, Ks, width, height, **options):
    """Image with accumulated depth last, alpha, and the per-camera results."""
    shared = [tensors[name] for name in NAMES[:4]]
    results = []
    for c, view in enumerate(tensors["viewmats"]):
        colors = tensors["colors"][c] if tensors["colors"].shape[0] == len(Ks) != len(shared[0]) else tensors["colors"]
        results.append(
            reference.rasterize(
                *shared, colors, view, Ks[c], width, height, background=tensors["backgrounds"][c], **options
            )
        )
    image = torch.stack([torch.cat([r.image, r.depth[..., None]], -1) for r in results])
    return image, torch.stack([r.alpha for r in results])[..., None], results


def compare(tensors, Ks, width, height, mode, reference_options, options, tolerance=1e-4):
    """Draw both ways with random output gradients and compare all there is, relative to each array's largest value."""
    image, alpha, results = draw_reference(tensors, Ks, width, height, **reference_options)
    if mode.endswith("ED"):
        image = torch.cat([image[..., :-1], image[..., -1:] / alpha.clamp_min(1e-10)], -1)
    if mode == "RGB":
        image = image[..., :-1]
    if "RGB" not in mode:
        image = image[..., -1:]
    generator = torch.Generator().manual_seed(1)
    grad_image = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    grad_alpha = torch.randn(alpha.shape, generator=generator, dtype=torch.float64)
    ((image * grad_image).sum() + (alpha * grad_alpha).sum()).backward()
    expected = {name: t.grad for name, t in tensors.items() if t.grad is not None}

    leaves = {name: t.detach().clone().requires_grad_() for name, t in tensors.items()}
    arguments = [leaves[name] for name in NAMES[:6]]
    got, got_alpha, meta = rasterization(
        *arguments, Ks, width, height, backgrounds=leaves["backgrounds"], render_mode=mode, **options
    )
    meta["means2d"].retain_grad()
    ((got * grad_image).sum() + (got_alpha * grad_alpha).sum()).backward()

    def close(name, ours, theirs):
        error = (ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-9)
        assert error < tolerance, f"{name}: relative error {error:.2e}"

    close("image", got, image)
    close("alpha", got_alpha, alpha)
    assert torch.equal((meta["radii"] > 0).all(-1), torch.stack([r.visible for r in results]))
    for name, grad in expected.items():
        if name in ("colors", "backgrounds") and "RGB" not in mode:
            assert leaves[name].grad is None
            continue
        assert leaves[name].grad.dtype == torch.float64
        close(f"gradient of {name}", leaves[name].grad, grad)
    close("means2d.grad", meta["means2d"].grad, torch.stack([r.means2d.grad for r in results]))
    close("means2d.absgrad", meta["means2d"].absgrad, torch.stack([r.absgrad for r in results]))


@pytest.mark.parametrize("mode", ["RGB", "RGB+D", "RGB+ED", "D", "ED"])
@pytest.mark.parametrize("antialiased", [False, True])
def test_colors_and_depth(mode, antialiased):
    options = {"rasterize_mode": "antialiased" if antialiased else "classic"}
    compare(*scene(), mode, {"antialiased": antialiased}, options)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spherical_harmonics(degree):
    compare(*scene(bands=16, seed=degree), "RGB", {"sh_degree": degree}, {"sh_degree": degree})


@pytest.mark.parametrize("channels", [1, 2, 4, 7, 40])
def test_features(channels):
    compare(*scene(channels=channels), "RGB", {}, {})


@pytest.mark.parametrize("mode", ["RGB+D", "RGB+ED"])
def test_features_and_depth(mode):
    compare(*scene(channels=5), mode, {}, {})


def test_colors_of_each_camera():
    for channels in (3, 4):
        tensors, *rest = scene(channels=channels)
        colors = torch.rand(2, 60, channels).double().requires_grad_()
        compare({**tensors, "colors": colors}, *rest, "RGB", {}, {})


def test_spherical_harmonics_of_each_camera():
    tensors, *rest = scene(bands=4)
    colors = torch.randn(2, 60, 4, 3).double().requires_grad_()
    compare({**tensors, "colors": colors}, *rest, "RGB", {"sh_degree": 1}, {"sh_degree": 1})


def test_near_far_clip_and_blur():
    reference_options = {"near": 2.7, "far": 3.4, "radius_clip": 3.0, "eps2d": 0.1}
    options = {"near_plane": 2.7, "far_plane": 3.4, "radius_clip": 3.0, "eps2d": 0.1}
    compare(*scene(200), "RGB", reference_options, options)


def test_dense_enough_to_stop_early():
    tensors, *rest = scene(600, seed=3)
    with torch.no_grad():
        tensors["opacities"].fill_(0.97)
        tensors["scales"].mul_(2)
    _, alpha, _ = draw_reference(tensors, *rest)
    assert (alpha > 0.9998).float().mean() > 0.3
    compare(tensors, *rest, "RGB+D", {}, {})
