"""Settings of a portrait that is made in seconds; conftest's ``made`` is one of a photo."""

SMALL = [
    "view_generator.views=11",
    "view_generator.size=256",
    "training.iterations=60",
    "representation.points_per_face=1",
    "output.turntable_frames=6",
    "output.sheet_views=4",
]
