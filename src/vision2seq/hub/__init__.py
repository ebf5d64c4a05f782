"""Names to local files."""

from vision2seq.hub.locate import BUNDLED, locate
from vision2seq.hub.source import ARGUMENTS, Options, Source

__all__ = ["ARGUMENTS", "BUNDLED", "Options", "Source", "locate"]
