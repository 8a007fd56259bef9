"""Names of some of the 68 facial landmarks (iBUG 300-W; Sagonas et al., ICCV workshops 2013)."""

CHIN, BROW, NOSE_BRIDGE, NOSE_TIP, NOSE_BASE = 8, 19, 27, 30, 33
"""The jaw's lowest point, the middle of the right brow, and the nose from between the eyes down to above the lip."""
JAW_AROUND_CHIN, INNER = slice(6, 11), slice(17, None)
"""The jaw without its sides, and all but the jaw."""
BOTH_BROWS, OUTER_LIPS, INNER_LIPS = slice(17, 27), slice(48, 60), slice(60, 68)
