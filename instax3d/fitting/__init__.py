"""Fits any parametric head to what was seen of a real one."""
