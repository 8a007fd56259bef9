"""Densification with an adaptive quantile (Gaussian Opacity Fields); see README.md."""
