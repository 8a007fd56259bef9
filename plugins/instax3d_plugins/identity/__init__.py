"""Metrics of identity by the recognition networks of FaceNet and ArcFace."""
