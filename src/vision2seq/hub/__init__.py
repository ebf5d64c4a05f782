"""Names to local files, downloaded where they are not. Nothing is sent anywhere but the requests that this takes."""

from vision2seq.hub.locate import BUNDLED, find, find_beside, locate, nowhere
from vision2seq.hub.source import ARGUMENTS, Options, Source

__all__ = ["ARGUMENTS", "BUNDLED", "Options", "Source", "find", "find_beside", "locate", "nowhere"]
