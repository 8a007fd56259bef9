"""Which points of MediaPipe's face mesh are the 68 landmarks."""

JAW_RIGHT = (127, 234, 93, 58, 172, 136, 149, 148)
JAW_LEFT = (377, 378, 365, 397, 288, 323, 454, 356)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
NOSE = (168, 197, 5, 4, 98, 97, 2, 326, 327)
EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
LIPS = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87)

IBUG_68 = (*JAW_RIGHT, 152, *JAW_LEFT, *BROWS, *NOSE, *EYES, *LIPS)
"""The mesh's point for each landmark, by the mesh's own lines of oval, brows, eyes, nose and lips. Along the jaw the
two schemes put their points at different places of the same line, which the fit allows for."""
COUNT = 478
"""Points of the mesh, with five of each iris."""
