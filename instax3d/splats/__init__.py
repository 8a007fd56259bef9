"""Gaussians: their initialization, density control and losses."""
