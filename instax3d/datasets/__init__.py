"""Turntables to train view generators on: heads seen from 21 sides, in folders that are captures as well.

A data set is a folder::

    dataset.json                      where the clips came from: source, options, seed, license
    shard-00000/index.json            the shard's clips, with the SHA-256 of each clip.json
    shard-00000/clip-000000/          a capture: `instax3d create` reads it
        transforms.json, 00.png … 20.png
        clip.json                     elevation, what the source says of it, SHA-256 of each of its files
    index.json                        the shards with the SHA-256 of each index; written last

Clips appear under their names whole or not at all.
"""

from .layout import AZIMUTHS_DEG, FIELD_OF_VIEW_DEG, INPUT_VIEW

__all__ = ["AZIMUTHS_DEG", "FIELD_OF_VIEW_DEG", "INPUT_VIEW"]
