"""The families: one file each, parameter names as in the checkpoints."""
