"""A toy portrait, as metrics get it."""

from torch import Tensor

from instax3d.types import Cameras, EvaluationContext, TrueSurface

from .fakes import FakeDetector
from .toys import toy_cameras, toy_gaussians, toy_mesh, toy_photo, toy_views


def toy_context() -> EvaluationContext:
    """A portrait of the toy ball that is 5 % too dark, with held-out frames and the true surface.

    Its photo is `toy_photo`, and its detector finds no face.
    """
    views, mesh = toy_views(), toy_mesh()

    def render(cameras: Cameras) -> Tensor:
        return 0.95 * toy_views(len(cameras), cameras.width).images

    return EvaluationContext(
        gaussians=toy_gaussians(),
        mesh=mesh,
        views=views,
        rendered=render(views.cameras),
        turntable_cameras=toy_cameras(6),
        render=render,
        detector=FakeDetector(),
        photo=toy_photo(),
        test_images=views.images,
        test_rendered=render(views.cameras),
        test_cameras=views.cameras,
        surface=TrueSurface(mesh.vertices, mesh.faces),
    )
