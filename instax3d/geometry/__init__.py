"""Cameras, rotations, meshes and landmarks: numpy and torch code without knowledge of portraits."""
