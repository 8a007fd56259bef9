"""The names of the landmarks."""

import subprocess
import sys

import pytest

from instax3d.geometry import landmarks68
from instax3d.headmodel import HeadModel
from instax3d.registry import build


@pytest.fixture(scope="module")
def landmarks():
    """Of a neutral head; x to its left, y up, z to the front."""
    model = build(HeadModel, "mannequin")
    return model.landmarks(model(model.neutral()))


def test_the_names_stand_where_they_say_on_a_head(landmarks):
    x, y, z = landmarks.unbind(1)
    assert int(y.argmin()) == landmarks68.CHIN
    assert int(z.argmax()) == landmarks68.NOSE_TIP
    heights = [landmarks68.BROWS, landmarks68.BOTH_EYES, landmarks68.NOSE_TIP, landmarks68.NOSE_BASE, landmarks68.LIPS]
    means = [float(y[part].mean()) for part in heights]
    assert means == sorted(means, reverse=True)
    for right, left in (
        (landmarks68.RIGHT_BROW, landmarks68.LEFT_BROW),
        (landmarks68.RIGHT_EYE, landmarks68.LEFT_EYE),
        *(
            getattr(landmarks68, name)
            for name in ("JAW_ENDS", "NOSE_WINGS", "OUTER_EYE_CORNERS", "INNER_EYE_CORNERS", "MOUTH_CORNERS")
        ),
    ):
        assert float(x[right].mean()) < 0 < float(x[left].mean())
    assert float(y[landmarks68.UPPER_LIP_EDGE]) >= float(y[landmarks68.LOWER_LIP_EDGE])


def test_jaw_and_inner_landmarks_are_all_of_them():
    every = [*range(68)]
    assert every[landmarks68.JAW] + every[landmarks68.INNER] == every
    inner = [landmarks68.BROWS, landmarks68.NOSE, landmarks68.BOTH_EYES, landmarks68.LIPS]
    assert [number for part in inner for number in every[part]] == every[landmarks68.INNER]


def test_the_names_come_without_torch():
    code = "import sys, instax3d.geometry.landmarks68; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
