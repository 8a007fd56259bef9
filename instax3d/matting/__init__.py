"""The matte of a photo's person: a crop around the head, GrabCut from a trimap, and closed-form matting."""
