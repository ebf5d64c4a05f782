"""GenerateOutput: what a generation returns, and how it is gathered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vision2seq.configuration.generation import GenerationConfig
from vision2seq.generation.session import StepOutput
from vision2seq.generation.stopping import REPETITION, repeated_tail
from vision2seq.layers.outputs import ModelOutput


@dataclass
class GenerateOutput(ModelOutput):
    """Fields by attribute, by name, or by position among those that are not None.

    R rows (images × sequences an image), T tokens of the longest row, N steps, V vocabulary.

    Attributes:
        sequences: (R, T), the decoder prompt included, padded on the right.
        sequences_scores: (R,), the length-normalised score of each row; beam search with ``output_scores``.
        scores: For each step the scores after all rules, (R or images × beams, V), with ``output_scores``.
        logits: The same before any rule, with ``output_logits``.
        beam_indices: (R, N), which row of ``scores`` each token came from, -1 after the end; beam search.
        encoder_attentions: The model fills it.
        encoder_hidden_states: The model fills it.
        decoder_attentions: For each step what the session returned, with ``output_attentions``.
        cross_attentions: Likewise.
        decoder_hidden_states: Likewise, with ``output_hidden_states``.
        finish_reasons: For each row why it ended: "eos", "length", "stop" (a stop string, a criterion or the time
            limit) or "repetition".
        token_logprobs: For each row the log-probability, by the plain softmax of the raw logits, of every token after
            the prompt, the end token included.
        text_scores: For each row the sum of its tokens' log-probabilities divided by their number to the power of
            ``length_penalty``: with beams what they were chosen by, after all rules, as ``sequences_scores``.

    Source: the fields of transformers 4.57.6 ``GenerateBeamEncoderDecoderOutput``; the last three are ours.
    """

    sequences: Tensor
    sequences_scores: Tensor | None = None
    scores: tuple[Tensor, ...] | None = None
    logits: tuple[Tensor, ...] | None = None
    beam_indices: Tensor | None = None
    encoder_attentions: tuple[Any, ...] | None = None
    encoder_hidden_states: tuple[Any, ...] | None = None
    decoder_attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None
    decoder_hidden_states: tuple[Any, ...] | None = None
    finish_reasons: list[str] | None = None
    token_logprobs: list[list[float]] | None = None
    text_scores: list[float] | None = None


class KeptSteps:
    """Gathers the tensors of each step that a call asked to get back.

    Args:
        config: The call's options.
    """

    def __init__(self, config: GenerationConfig) -> None:
        attentions = config.output_attentions
        wanted = {
            "scores": config.output_scores,
            "logits": config.output_logits,
            "decoder_attentions": attentions,
            "cross_attentions": attentions,
            "decoder_hidden_states": config.output_hidden_states,
        }
        self._steps: dict[str, list[Any]] = {
            name: [] for name, want in wanted.items() if want and config.return_dict_in_generate
        }

    def add(self, scores: Tensor | None, output: StepOutput | None) -> None:
        """Take what a step computed, which is there if it was asked for."""
        for name, steps in self._steps.items():
            value = scores if name == "scores" else getattr(output, name)
            # A session may write its next scores into the same memory.
            steps.append(value.clone() if isinstance(value, Tensor) else value)

    def put_into(self, output: GenerateOutput) -> GenerateOutput:
        """Set the fields that were asked for, and return the output."""
        for name, steps in self._steps.items():
            setattr(output, name, tuple(steps))
        return output


def text_score(logprobs: list[float], config: GenerationConfig) -> float:
    """What beam search would choose a text by: see `GenerateOutput.text_scores`."""
    return sum(logprobs) / max(1, len(logprobs)) ** config.length_penalty


def cut_loops(sequences: Tensor, reasons: list[str], logprobs: list[list[float]], *, start: int, pad: int) -> Tensor:
    """Take the repeats off the rows that ended as a loop, and return sequences as short as the longest row.

    Args:
        sequences: (R, T), written to where a row is cut.
        reasons: Why each row ended.
        logprobs: A number for each token of each row; cut along.
        start: Tokens of the prompt.
        pad: What follows the end.
    """
    if REPETITION not in reasons:
        return sequences
    for row, reason in enumerate(reasons):
        if reason == REPETITION:
            ids = sequences[row, start : start + len(logprobs[row])].tolist()
            end = len(ids) - repeated_tail(ids)
            sequences[row, start + end :] = pad
            del logprobs[row][end:]
    return sequences[:, : start + max(map(len, logprobs))]
