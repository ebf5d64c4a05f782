"""The loop that turns a decoder's scores into text: greedy, sampling and beam search. It knows a session, no model."""

from vision2seq.generation.constraints import Choices, Constraint, Pattern, Schema
from vision2seq.generation.generate import generate
from vision2seq.generation.loop import Step, iterate
from vision2seq.generation.output import GenerateOutput
from vision2seq.generation.session import DecodingSession, StepOutput
from vision2seq.generation.streaming import TextIteratorStreamer, TextStreamer

__all__ = [
    "Choices",
    "Constraint",
    "DecodingSession",
    "GenerateOutput",
    "Pattern",
    "Schema",
    "Step",
    "StepOutput",
    "TextIteratorStreamer",
    "TextStreamer",
    "generate",
    "iterate",
]
