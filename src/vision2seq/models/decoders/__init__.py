"""Causal text decoders with cross-attention: ids B T and memory B S D → logits B T V."""
