"""Initialization of Gaussians on the head's surface, as representations share it. Only `options` is free of torch."""
