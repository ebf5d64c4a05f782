"""The second way to run the same weights: inference only, one token a step, in compiled code.

The modules in `models` are the specification; what is here has to give the same numbers, which tests hold it to.
"""
