"""Turntables of heads to train view generators on: drawn parametric heads, and captures; see README.md."""
