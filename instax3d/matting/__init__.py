"""Cutting the person out of a photo: a square about the head, GrabCut in it, and a soft matte in closed form."""
