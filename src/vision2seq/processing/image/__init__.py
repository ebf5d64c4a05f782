"""Pictures in, ``pixel_values`` out: reading anything as RGB, and the processors that checkpoints name.

Nothing is imported here, so that the cost of a processor is paid by whoever asks for it.
"""

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as an image in a folder."""
