"""The `dlib` landmark detector; see README.md."""
