"""Metrics of facial keypoints: PCK and landmark error."""
