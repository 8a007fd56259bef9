"""The CPU rasterizer under odd inputs: threads, layouts, refusals, and parameters that no sane user would give."""

import math

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instax3d_plugins.cpu import rasterization

from instax3d.errors import RenderError


def arguments(count=200, cameras=1, channels=3, seed=0, width=50, height=40):
    generator = torch.Generator().manual_seed(seed)
    views = torch.eye(4).repeat(cameras, 1, 1)
    views[:, 2, 3] = 3.0
    return {
        "means": torch.randn(count, 3, generator=generator) * 0.5,
        "quats": torch.randn(count, 4, generator=generator),
        "scales": torch.rand(count, 3, generator=generator) * 0.2,
        "opacities": torch.rand(count, generator=generator),
        "colors": torch.rand(count, channels, generator=generator),
        "viewmats": views,
        "Ks": torch.tensor([[40.0, 0, width / 2], [0, 40, height / 2], [0, 0, 1]]).repeat(cameras, 1, 1),
        "width": width,
        "height": height,
    }


LEAVES = ("means", "quats", "scales", "opacities", "colors")


def draw(given, **options):
    """Image, alpha, meta and the gradients of a fixed weighting of the image."""
    given = {**given, **{name: given[name].detach().requires_grad_() for name in LEAVES}}
    image, alpha, meta = rasterization(**given, **options)
    weights = torch.sin(torch.arange(image.numel())).reshape(image.shape)
    ((image * weights).sum() + alpha.square().sum()).backward()
    return image.detach(), alpha.detach(), meta, [given[name].grad for name in LEAVES]


@pytest.mark.parametrize("channels", [3, 5])
def test_bitwise_the_same_for_any_number_of_threads(channels):
    given = arguments(3000, cameras=2, channels=channels, width=90, height=70)
    before = numba.get_num_threads()
    results = []
    try:
        for threads in (1, before, 1):
            numba.set_num_threads(threads)
            image, alpha, meta, grads = draw(given, render_mode="RGB+ED")
            results.append([image, alpha, meta["means2d"].absgrad, *grads])
    finally:
        numba.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_double_and_strided_tensors():
    given = arguments(cameras=2)
    image, _, _, grads = draw(given)
    odd = dict(given)
    for name in (*LEAVES, "viewmats", "Ks"):
        wide = torch.zeros(*given[name].shape, 2, dtype=torch.float64)
        wide[..., 0] = given[name]
        odd[name] = wide[..., 0]
        assert not odd[name].is_contiguous()
    odd_image, _, _, odd_grads = draw(odd)
    assert torch.equal(image, odd_image)
    for a, b in zip(grads, odd_grads, strict=True):
        assert b.dtype == torch.float64
        assert torch.equal(a.double(), b)


def test_gradients_arrive_in_any_layout():
    given = arguments()
    _, _, _, expected = draw(given)
    given = {**given, **{name: given[name].requires_grad_() for name in LEAVES}}
    image, alpha, _ = rasterization(**given)
    weights = torch.sin(torch.arange(image.numel())).reshape(image.shape)
    grad = weights.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
    torch.autograd.backward([image, alpha], [grad, 2 * alpha.detach()])
    assert all(torch.equal(given[name].grad, e) for name, e in zip(LEAVES, expected, strict=True))
    # an expanded gradient, as a plain sum gives
    rasterization(**given)[0].sum().backward()


def test_nothing_is_kept_without_autograd():
    given = arguments()
    with torch.no_grad():
        image, _, meta = rasterization(**given)
    assert not image.requires_grad
    assert not meta["means2d"].requires_grad
    expected, _, _, _ = draw(given)
    assert torch.equal(image, expected)


@pytest.mark.parametrize(
    "option",
    [
        {"packed": True},
        {"tile_size": 8},
        {"sparse_grad": True},
        {"distributed": True},
        {"camera_model": "fisheye"},
        {"camera_model": "ortho"},
        {"segmented": True},
        {"covars": torch.zeros(200, 3, 3)},
        {"with_ut": True},
        {"with_eval3d": True},
        {"radial_coeffs": torch.zeros(1, 6)},
        {"tangential_coeffs": torch.zeros(1, 2)},
        {"thin_prism_coeffs": torch.zeros(1, 4)},
        {"ftheta_coeffs": 1},
        {"rolling_shutter": "ROLLING_TOP_TO_BOTTOM"},
        {"viewmats_rs": torch.eye(4)[None]},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_is_not_supported_is_refused_by_name(option):
    with pytest.raises(RenderError, match=next(iter(option))):
        rasterization(**arguments(), **option)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.zeros(2, 200, 3)}, "batch dimensions"),
        ({"quats": torch.zeros(199, 4)}, r"quats must be .*\[200, 4\].*\[199, 4\]"),
        ({"scales": torch.zeros(200, 3, dtype=torch.int64)}, "scales must be floating"),
        ({"colors": torch.zeros(200)}, "colors must be"),
        ({"Ks": torch.eye(3)}, "Ks must be"),
        ({"backgrounds": torch.zeros(1, 4)}, "backgrounds must be"),
        ({"width": 0}, "width and height"),
        ({"sh_degree": 4, "colors": torch.zeros(200, 25, 3)}, "sh_degree must be from 0 to 3"),
        ({"sh_degree": 2, "colors": torch.zeros(200, 4, 3)}, "needs 9 coefficients"),
        ({"render_mode": "depth"}, "render_mode must be one of"),
        ({"rasterize_mode": "mip"}, "rasterize_mode must be"),
        ({"opacities": torch.zeros(200, device="meta")}, "move it to the CPU"),
    ],
)
def test_wrong_input_is_named(change, message):
    with pytest.raises(RenderError, match=message):
        rasterization(**{**arguments(), **change})


def test_global_shutter_of_gsplat_is_accepted():
    class Shutter:
        name = "GLOBAL"

    rasterization(**arguments(5), rolling_shutter=Shutter())


@pytest.mark.parametrize("mode", ["RGB", "RGB+ED", "ED"])
@pytest.mark.parametrize("size", [(1, 1), (17, 3)])
def test_no_gaussians_and_tiny_images(mode, size):
    for count in (0, 1):
        given = arguments(count, width=size[0], height=size[1])
        image, alpha, meta, grads = draw(given, render_mode=mode, backgrounds=torch.ones(1, 3))
        assert image.shape[1:3] == alpha.shape[1:3] == (size[1], size[0])
        assert meta["radii"].shape == (1, count, 2)
        assert image.isfinite().all()
        assert all(g is None or g.isfinite().all() for g in grads)
        if count == 0:
            assert (alpha == 0).all()
            assert (image == (0 if mode == "ED" else image[..., :1])).all() or mode == "RGB+ED"


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gaussian_that_is_not_finite_is_left_out(name, value):
    given = arguments(40)
    bad = {**given, name: given[name].clone()}
    bad[name][7] = value
    rest = {**given, **{leaf: given[leaf][torch.arange(40) != 7] for leaf in LEAVES}}
    image, alpha, meta, grads = draw(bad)
    expected, expected_alpha, _, _ = draw(rest)
    assert torch.equal(image, expected)
    assert torch.equal(alpha, expected_alpha)
    assert (meta["radii"][0, 7] == 0).all()
    assert all((g[7] == 0).all() and g.isfinite().all() for g in grads)


def test_culled_gaussians_get_zero_gradients():
    given = arguments(30)
    given["means"][:10, 2] = -5  # behind the camera
    given["opacities"][10:20] = 0
    given["means"][20:25, 0] = 1e4  # beside the image
    _, _, meta, grads = draw(given)
    assert (meta["radii"][0, :25] == 0).all()
    assert all((g[:25] == 0).all() for g in grads)
    assert (grads[0][25:] != 0).any()


def test_too_many_tiles_are_refused():
    given = arguments(300_000, width=2000, height=2000)
    given["scales"].fill_(100.0)
    given["opacities"].fill_(0.9)
    with pytest.raises(RenderError, match="fewer or smaller Gaussians"):
        rasterization(**given)


# numbers that are awkward somewhere: zero, subnormal, tiny, ordinary, huge, overflowing, not finite
awkward = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-45, 1e-30, 1 / 255, 0.999, 1.0, 3.0, 1e6, 1e19, 1e30, 3e38, math.inf, math.nan]),
    st.floats(-4, 4, width=32),
    st.floats(width=32),
)


@st.composite
def hostile(draw_from):
    count = draw_from(st.integers(0, 6))
    cameras = draw_from(st.integers(1, 2))
    degree = draw_from(st.sampled_from([None, 0, 1, 3]))
    width, height = draw_from(st.integers(1, 40)), draw_from(st.integers(1, 24))

    def tensor(*shape):
        size = math.prod(shape)
        return torch.tensor(draw_from(st.lists(awkward, min_size=size, max_size=size)), dtype=torch.float32).reshape(
            shape
        )

    # mostly sane Gaussians, since one bad number culls the whole Gaussian
    given = arguments(count, cameras=cameras, seed=draw_from(st.integers(0, 99)), width=width, height=height)
    if degree is not None:
        given["colors"] = torch.randn(count, 16, 3)
    for name in LEAVES:
        if count and draw_from(st.booleans()):
            row = draw_from(st.integers(0, count - 1))
            given[name][row] = tensor(*given[name][row].shape) if name != "colors" else tensor(1)[0]
    if draw_from(st.integers(0, 4)) == 0:
        given["viewmats"][0, :3] = tensor(3, 4)
    if draw_from(st.integers(0, 4)) == 0:
        given["Ks"][0, :2] = tensor(2, 3)
    options = {
        "sh_degree": degree,
        "render_mode": draw_from(st.sampled_from(["RGB", "RGB+ED", "D"])),
        "rasterize_mode": draw_from(st.sampled_from(["classic", "antialiased"])),
        "eps2d": draw_from(st.sampled_from([0.3, 0.0])),
        "near_plane": draw_from(st.sampled_from([0.01, 0.0, -1.0])),
    }
    return given, options


def survive(case):
    """A result of the right shape with alpha in [0, 1], and gradients wherever they are asked for."""
    given, options = case
    image, alpha, meta, grads = draw(given, **options)
    assert image.shape[:3] == alpha.shape[:3] == (len(given["viewmats"]), given["height"], given["width"])
    assert ((alpha >= 0) & (alpha <= 1)).all()
    assert image.isfinite().all()
    culled = (meta["radii"] == 0).all(-1).all(0)
    for grad in grads:
        assert grad is None or (grad[culled] == 0).all()


@settings(max_examples=100, deadline=None)
@given(hostile())
def test_hostile_parameters(case):
    survive(case)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(hostile())
def test_ten_thousand_hostile_parameters(case):
    survive(case)
