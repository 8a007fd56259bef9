"""Kernels give the same bits whether they were just compiled or came from the cache on disk.

A kernel and the functions it calls exist in several copies, of which a process takes the one it loads first; under
fastmath the copies may round differently. Where that shows, `forceinline=True` on what the kernel calls has cured it.
"""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib
import instax3d
import torch
from instax3d.splats.photometric import alpha_loss, photometric_loss
from instax3d.testing import toy_cameras, toy_gaussians, toy_mesh
from instax3d_plugins.cpu import rasterization
from instax3d_plugins.triangles.placement import constraint, frames_of, place

def show(name, tensor):
    print(name, hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest())

for degree in (0, 2):
    g = toy_gaussians(3000, sh_degree=degree)
    leaves = [t.detach().requires_grad_() for t in (g.means, g.quats, g.scales, g.opacities, g.sh)]
    cameras = toy_cameras(2, size=100)
    size = (cameras.width, cameras.height)
    image, alpha, info = rasterization(
        *leaves, cameras.viewmats, cameras.Ks, *size, sh_degree=degree, packed=False, absgrad=True, render_mode="RGB+ED"
    )
    weights = torch.linspace(-1, 1, image.numel()).reshape(image.shape).sin()
    ((image * weights).sum() + alpha.sum()).backward()
    show("image", image)
    show("absgrad", info["means2d"].absgrad)
    for name, leaf in zip(("means", "quats", "scales", "opacities", "sh"), leaves):
        show(name, leaf.grad)

pictures = torch.linspace(0, 500, 2 * 3 * 90 * 130).sin().reshape(2, 1, 3, 90, 130).abs()
picture = pictures[0].clone().requires_grad_()
loss = photometric_loss(picture, pictures[1], weight=pictures[1][:, :1])
loss.backward()
show("loss", loss)
show("gradient of the loss", picture.grad)
coverage = pictures[0][:, :1].clone().requires_grad_()
loss = alpha_loss(coverage, pictures[1][:, :1], weight=pictures[1][:, 1:2])
loss.backward()
show("loss of coverage", loss)
show("gradient of coverage", coverage.grad)

mesh, g = toy_mesh(), toy_gaussians(3000)
leaves = [t.detach().requires_grad_() for t in (g.means, g.quats, g.scales)]
placed = place(frames_of(mesh.vertices, mesh.faces), torch.arange(3000) % len(mesh.faces), *leaves)
held = constraint(leaves[0], leaves[2], 2 * g.means, g.opacities / 100, g.opacities)
sum((part * part).sum() for part in (*placed, *held)).backward()
for name, part in zip(("placed means", "quats", "scales", "position", "scale"), (*placed, *held)):
    show(name, part)
for name, leaf in zip(("means", "quats", "scales"), leaves):
    show("residual " + name, leaf.grad)
"""


@pytest.mark.slow
def test_the_first_process_computes_what_later_ones_do(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert said[0].stdout == said[1].stdout
    assert len(said[0].stdout.splitlines()) == 26
