"""A linear face model by somebody else, as a distribution of its own."""
