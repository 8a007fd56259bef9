"""The metric `mvc`: multi-view consistency by CLIP and DINO."""
