"""Vision encoders: pixels B C H W → hidden states B S D."""
