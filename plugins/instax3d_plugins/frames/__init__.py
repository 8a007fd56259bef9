"""The `frames` view generator; see README.md."""
