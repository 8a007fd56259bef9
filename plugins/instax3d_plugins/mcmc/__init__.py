"""Densification by relocation and noise (3DGS-MCMC); see README.md."""
