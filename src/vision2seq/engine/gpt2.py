"""One step of GPT-2 with cross-attention: the sums of `models.decoders.gpt2` for one new token a row."""

from __future__ import annotations

from torch import Tensor, nn

from vision2seq.engine.program import Program
from vision2seq.engine.step import Step, step_from
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


def step_for(decoder: gpt2.GPT2LMHeadModel) -> Step | None:
    """A step for this decoder as it is now, or None where the modules have to run; see `step_from`."""
    inner = decoder.transformer

    def embed(tokens: Tensor, past: int) -> Tensor:
        return inner.wte(tokens[:, 0]) + inner.wpe.weight[past]

    return step_from(decoder, _PLAIN, embed, lambda program: _record(decoder, program))


def _record(decoder: gpt2.GPT2LMHeadModel, program: Program) -> None:
    width, x = decoder.config.hidden_size, program.embedded
    normed, joint, mixed = program.buffer(width), program.buffer(3 * width), program.buffer(width)
    inner: int | None = None
    for index, block in enumerate(decoder.layers()):
        assert isinstance(block, gpt2.Block)
        shape = {"layer": index, "heads": block.attn.heads, "channels": width // block.attn.heads}
        program.norm(x, normed, block.ln_1)
        program.linear(normed, joint, _pair(block.attn.c_attn), transposed=True)
        program.attend_self(joint, mixed, **shape, scale=block.attn.scale)
        program.linear(mixed, x, _pair(block.attn.c_proj), added=x, transposed=True)
        program.norm(x, normed, block.ln_cross_attn)
        program.linear(normed, joint, _pair(block.crossattention.q_attn), transposed=True)
        program.attend_cross(joint, mixed, **shape, scale=block.crossattention.scale)
        program.linear(mixed, x, _pair(block.crossattention.c_proj), added=x, transposed=True)
        program.norm(x, normed, block.ln_2)
        if inner is None:
            inner = program.buffer(block.mlp.c_fc.bias.shape[0])
        program.linear(normed, inner, _pair(block.mlp.c_fc), activation=block.mlp.act, transposed=True)
        program.linear(inner, x, _pair(block.mlp.c_proj), added=x, transposed=True)
    program.norm(x, x, decoder.transformer.ln_f)
    program.linear(x, None, (decoder.lm_head.weight, None))


def _pair(module: gpt2.Conv1D) -> tuple[Tensor, Tensor]:
    return module.weight, module.bias
