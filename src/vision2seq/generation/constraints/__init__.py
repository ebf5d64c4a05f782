"""Constraints: what a generated text has to be. `Choices` lists it, `Pattern` describes it, `Schema` structures it.

Each ends in a rule of the loop that lets a model choose only what can still become valid in the room that is left. So
every text is valid, whatever the model, with greedy decoding, sampling and beams; where none can be, an error says so.
The probabilities that come with a text stay the model's own, of the plain softmax over all tokens.
"""

from vision2seq.generation.constraints.base import Constraint
from vision2seq.generation.constraints.choices import Choices
from vision2seq.generation.constraints.pattern import Pattern
from vision2seq.generation.constraints.schema import Schema

__all__ = ["Choices", "Constraint", "Pattern", "Schema"]
