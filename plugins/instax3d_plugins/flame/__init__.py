"""The FLAME head model; see README.md."""
