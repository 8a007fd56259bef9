"""Every built-in plugin that another file does not put through its suite."""

import pytest
from PIL import Image
from skimage.data import astronaut

from instax3d.geometry.cameras import write_transforms
from instax3d.inputs.capture import read_capture
from instax3d.inputs.photo import read_photo
from instax3d.interfaces import LandmarkDetector, MeshPrior, Renderer, ViewGenerator
from instax3d.io.images import write_png
from instax3d.registry import build
from instax3d.testing import (
    LandmarkDetectorSuite,
    MeshPriorSuite,
    RendererSuite,
    ViewGeneratorSuite,
    toy_photo,
    toy_views,
    views_of_model,
)


class TestCpu(RendererSuite):
    @pytest.fixture
    def plugin(self):
        return build(Renderer, "cpu")


@pytest.fixture(scope="module")
def detector():
    return build(LandmarkDetector, "dlib")


class TestDlib(LandmarkDetectorSuite):
    @pytest.fixture
    def plugin(self, detector):
        return detector


@pytest.fixture(scope="module")
def mannequin():
    return build(MeshPrior, "mannequin")


@pytest.fixture(scope="module")
def fitted(mannequin):
    return mannequin.fit(views_of_model(mannequin.head_model()))


class TestMannequin(MeshPriorSuite):
    @pytest.fixture
    def plugin(self, mannequin):
        return mannequin

    @pytest.fixture
    def mesh(self, fitted):
        return fitted


class TestFrames(ViewGeneratorSuite):
    @pytest.fixture
    def plugin(self):
        return build(ViewGenerator, "frames")

    @pytest.fixture
    def source(self, tmp_path):
        views = toy_views()
        names = [f"{index}.png" for index in range(len(views))]
        for name, image, alpha in zip(names, views.images, views.alpha):
            write_png(tmp_path / name, image, alpha)
        write_transforms(tmp_path / "transforms.json", views.cameras, names)
        return read_capture(tmp_path)


@pytest.fixture(scope="module")
def template():
    return build(ViewGenerator, "template", views=7, size=192)


@pytest.fixture(scope="module")
def photo(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    return read_photo(path, detector)


@pytest.fixture(scope="module")
def turned(template, photo):
    return template.generate(photo, seed=7)


class TestTemplate(ViewGeneratorSuite):
    """One run serves all its tests but the one that needs a second."""

    @pytest.fixture
    def plugin(self, template):
        return template

    @pytest.fixture
    def source(self, photo):
        return photo

    @pytest.fixture
    def views(self, turned):
        return turned


def test_the_toy_photo_is_a_photo():
    assert toy_photo().image.shape == (3, 256, 256)
