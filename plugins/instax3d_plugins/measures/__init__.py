"""Metrics that need no weights: fidelity, likeness, surface and cost."""
