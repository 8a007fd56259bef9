"""A built-in plugin family of instax3d; see README.md."""
