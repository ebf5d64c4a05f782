"""One step of GPT-2 with cross-attention: the sums of `models.decoders.gpt2` for one new token a row."""

from __future__ import annotations

from torch import nn

from vision2seq.engine.program import Program
from vision2seq.engine.step import step_from
from vision2seq.models.decoders import gpt2

_PLAIN = {
    nn.Embedding,
    nn.LayerNorm,
    nn.Linear,
    nn.ModuleList,
    gpt2.MLP,
    gpt2.Attention,
    gpt2.Block,
    gpt2.Conv1D,
    gpt2.GPT2LMHeadModel,
    gpt2.GPT2Model,
}


def step_for(decoder: gpt2.GPT2LMHeadModel) -> Program | None:
    """The program for this decoder as it is now, or None where the modules have to run; see `step_from`."""
    return step_from(decoder, _PLAIN, lambda program: _record(decoder, program))


def _record(decoder: gpt2.GPT2LMHeadModel, program: Program) -> None:
    width, x = decoder.config.hidden_size, program.embedded
    normed, joint, mixed = program.buffer(width), program.buffer(3 * width), program.buffer(width)
    inner: int | None = None
    program.embed(x, decoder.transformer.wte, decoder.transformer.wpe.weight)
    for index, block in enumerate(decoder.layers()):
        assert isinstance(block, gpt2.Block)
        shape = {"layer": index, "heads": block.attn.heads, "channels": width // block.attn.heads}
        program.norm(x, normed, block.ln_1)
        program.linear(normed, joint, block.attn.c_attn)
        program.attend_self(joint, mixed, **shape, scale=block.attn.scale)
        program.linear(mixed, x, block.attn.c_proj, added=x)
        program.norm(x, normed, block.ln_cross_attn)
        program.linear(normed, joint, block.crossattention.q_attn)
        program.attend_cross(joint, mixed, **shape, scale=block.crossattention.scale)
        program.linear(mixed, x, block.crossattention.c_proj, added=x)
        program.norm(x, normed, block.ln_2)
        if inner is None:
            inner = program.buffer(block.mlp.c_fc.bias.shape[0])
        program.linear(normed, inner, block.mlp.c_fc, activation=block.mlp.act)
        program.linear(inner, x, block.mlp.c_proj, added=x)
    program.norm(x, x, decoder.transformer.ln_f)
    program.linear(x, None, decoder.lm_head)
