"""Files of head models and of fitted heads, which several plugins read or write."""
