"""Adaptive density control, as 3DGS-like densifiers share it. Of its modules, only `options` is free of torch."""
