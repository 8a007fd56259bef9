"""The `sv3d` view generator; see README.md."""
