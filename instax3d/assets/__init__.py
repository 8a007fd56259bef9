"""Third-party assets: where they are, how to get them, and whether they are the published files.

Nothing is downloaded unless the user asks for it with ``instax3d assets get``. Never imports torch.
"""

from .library import Located, asset_folder, locate, require

__all__ = ["Located", "asset_folder", "locate", "require"]
