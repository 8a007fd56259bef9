"""Names for the 68 landmarks of iBUG 300-W (Sagonas et al. 2016), of `Face.landmarks` and `HeadMesh.landmarks`.

Right and left are the subject's; the right is left in the image. Never imports torch.
"""

from collections.abc import Mapping

FACE_METERS = 0.14
"""Longer side of the box around the landmarks of an adult's face, meters: tells a face's distance from its size."""

JAW = slice(0, 17)
"""From the right ear around the chin to the left ear."""
JAW_ENDS = (0, 16)
"""In front of the right and the left ear."""
CHIN = 8
"""Its lowest point."""
AROUND_CHIN = slice(6, 11)

INNER = slice(17, 68)
"""All but the jaw: points of the skin, where detectors put those of the jaw on the outline."""

RIGHT_BROW, LEFT_BROW = slice(17, 22), slice(22, 27)
BROWS = slice(17, 27)
RIGHT_BROW_MIDDLE = 19

NOSE = slice(27, 36)
NOSE_BRIDGE = 27
"""Its root, between the eyes."""
NOSE_TIP = 30
NOSE_RIDGE = slice(27, 31)
"""From the bridge down to the tip."""
NOSTRILS = slice(31, 36)
"""Below them, from wing to wing."""
NOSE_WINGS = (31, 35)
NOSE_BASE = 33
"""Where it meets the upper lip."""

RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
"""Lids from corner to corner, over the upper and back along the lower one."""
BOTH_EYES = slice(36, 48)
EYES: Mapping[str, slice] = {"right": RIGHT_EYE, "left": LEFT_EYE}
OUTER_EYE_CORNERS = (36, 45)
INNER_EYE_CORNERS = (39, 42)

LIPS = slice(48, 68)
OUTER_LIPS, INNER_LIPS = slice(48, 60), slice(60, 68)
MOUTH_CORNERS = (48, 54)
UPPER_LIP_EDGE, LOWER_LIP_EDGE = 62, 66
"""Middles of the lips where they meet."""
