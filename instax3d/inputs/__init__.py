"""Reads and validates what portraits are made from: photos, captures and their true surfaces."""
