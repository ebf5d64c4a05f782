"""Text to ids and back: tokenizers read from any of the file layouts that checkpoints come in.

Nothing is imported here, so that the cost of a tokenizer is paid by whoever asks for one.
"""
