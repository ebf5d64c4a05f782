"""The command line: ``vision2seq COMMAND …``, one file a command."""
