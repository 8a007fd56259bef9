"""How Gaussians start on the head's surface: what representations share. `options` alone is free of torch."""
