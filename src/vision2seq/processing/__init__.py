"""Pictures to tensors, and text to tokens and back."""
