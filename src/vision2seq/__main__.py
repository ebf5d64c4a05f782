"""``python -m vision2seq`` is the command line."""

import sys

from vision2seq.cli.main import main

sys.exit(main())
