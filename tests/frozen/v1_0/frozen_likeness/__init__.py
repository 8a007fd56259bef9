"""A metric for version 1.0 of the contract. Frozen: see tests/core/test_frozen.py."""
