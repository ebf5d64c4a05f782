"""One step of the BART decoder and of its kin: the sums of `models.decoders.bart` for one new token a row."""

from __future__ import annotations

from torch import nn

from vision2seq.engine import trocr as trocr_step
from vision2seq.engine.program import Program
from vision2seq.engine.step import step_from
from vision2seq.models.decoders import bart, blenderbot, marian, trocr, xglm

_PLAIN = {
    nn.LayerNorm,
    nn.Linear,
    nn.ModuleList,
    bart.BartDecoder,
    bart.BartForCausalLM,
    bart.DecoderWrapper,
    bart.MBartForCausalLM,
    blenderbot.BlenderbotForCausalLM,
    blenderbot.Positions,
    marian.FixedPositions,
    marian.MarianForCausalLM,
    marian.PegasusForCausalLM,
    trocr.Attention,
    trocr.Layer,
    trocr.LearnedPositions,
    trocr.ScaledEmbedding,
    xglm.Positions,
    xglm.XGLMForCausalLM,
    xglm.XGLMLayer,
}


def step_for(decoder: bart.BartForCausalLM) -> Program | None:
    """The program for this decoder as it is now, or None where the modules have to run; see `step_from`."""
    inner = decoder.trunk

    def write(program: Program) -> None:
        tokens, positions = inner.embed_tokens, inner.embed_positions
        first = positions.OFFSET
        fixed = isinstance(positions, xglm.Positions)
        table = positions.rows(first + decoder.max_positions) if fixed else positions.weight
        program.embed(program.embedded, tokens, table, first=first, scale=tokens.scale * inner.scale)
        norms = {"embedding_norm": inner.layernorm_embedding, "last_norm": inner.layer_norm}
        trocr_step.record(decoder, program, norm_first=decoder.norm_first, **norms, head=decoder.lm_head)

    return step_from(decoder, _PLAIN, write)
