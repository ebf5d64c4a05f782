"""Names to local files."""

from vision2seq.hub.locate import BUNDLED, locate

__all__ = ["BUNDLED", "locate"]
