"""What is done with the text that a model wrote: pure functions on strings, one file a kind of output."""
