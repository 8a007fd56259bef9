"""The perceptual loss LPIPS; see README.md."""
