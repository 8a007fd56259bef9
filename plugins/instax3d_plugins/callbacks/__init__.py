"""Callbacks that record runs: TensorBoard and JSON lines; see README.md."""
