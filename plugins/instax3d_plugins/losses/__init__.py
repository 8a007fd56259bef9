"""Losses of the construction; see README.md."""
