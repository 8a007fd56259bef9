"""Densification by absolute gradients (AbsGS); see README.md."""
