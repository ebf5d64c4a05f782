"""One step of the BART and mBART decoders: the sums of `models.decoders.bart` for one new token a row."""

from __future__ import annotations

from torch import Tensor, nn

from vision2seq.engine.program import Program
from vision2seq.engine.step import Step, step_from
from vision2seq.models.decoders import bart, trocr

_PLAIN = {
    nn.LayerNorm,
    nn.Linear,
    nn.ModuleList,
    bart.Attention,
    bart.BartDecoder,
    bart.BartForCausalLM,
    bart.DecoderWrapper,
    bart.Layer,
    bart.MBartForCausalLM,
    trocr.LearnedPositions,
    trocr.ScaledEmbedding,
}


def step_for(decoder: bart.BartForCausalLM) -> Step | None:
    """A step for this decoder as it is now, or None where the modules have to run; see `step_from`."""
    inner = decoder.model.decoder

    def embed(tokens: Tensor, past: int) -> Tensor:
        return (inner.embed_tokens(tokens) + inner.embed_positions(tokens, 1, past))[:, 0]

    return step_from(decoder, _PLAIN, embed, lambda program: _record(decoder, program))


def _record(decoder: bart.BartForCausalLM, program: Program) -> None:
    width, x = decoder.config.hidden_size, program.embedded
    joint, mixed = program.buffer(3 * width), program.buffer(width)
    inner = program.buffer(decoder.config.decoder_ffn_dim)
    # What a branch reads: x itself, or x normed.
    source = program.buffer(width) if decoder.norm_first else x

    def norm(module: nn.LayerNorm, *, before: bool) -> None:
        if before == decoder.norm_first:
            program.norm(x, source, module)

    program.norm(x, x, decoder.model.decoder.layernorm_embedding)
    for index, layer in enumerate(decoder.layers()):
        assert isinstance(layer, bart.Layer)
        own, cross = layer.self_attn, layer.encoder_attn
        shape = {"layer": index, "heads": own.heads, "channels": width // own.heads, "scale": own.scale}
        norm(layer.self_attn_layer_norm, before=True)
        program.linear(source, joint, *map(_pair, (own.q_proj, own.k_proj, own.v_proj)))
        program.attend_self(joint, mixed, **shape)
        program.linear(mixed, x, _pair(own.out_proj), added=x)
        norm(layer.self_attn_layer_norm, before=False)
        norm(layer.encoder_attn_layer_norm, before=True)
        program.linear(source, joint, _pair(cross.q_proj))
        program.attend_cross(joint, mixed, **shape)
        program.linear(mixed, x, _pair(cross.out_proj), added=x)
        norm(layer.encoder_attn_layer_norm, before=False)
        norm(layer.final_layer_norm, before=True)
        program.linear(source, inner, _pair(layer.fc1), activation=layer.act)
        program.linear(inner, x, _pair(layer.fc2), added=x)
        norm(layer.final_layer_norm, before=False)
    if decoder.model.decoder.layer_norm is not None:
        program.norm(x, x, decoder.model.decoder.layer_norm)
    program.linear(x, None, _pair(decoder.lm_head))


def _pair(module: nn.Linear) -> tuple[Tensor, Tensor | None]:
    return module.weight, module.bias
