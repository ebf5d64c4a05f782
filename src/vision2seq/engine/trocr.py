"""One step of the TrOCR decoder: the sums of `models.decoders.trocr` for one new token a row."""

from __future__ import annotations

from torch import Tensor, nn

from vision2seq.engine.program import Program
from vision2seq.engine.step import Step, step_from
from vision2seq.models.decoders import trocr

_PLAIN = {
    nn.LayerNorm,
    nn.Linear,
    nn.ModuleList,
    trocr.Attention,
    trocr.DecoderWrapper,
    trocr.Layer,
    trocr.LearnedPositions,
    trocr.ScaledEmbedding,
    trocr.SinusoidalPositions,
    trocr.TrOCRDecoder,
    trocr.TrOCRForCausalLM,
}


def step_for(decoder: trocr.TrOCRForCausalLM) -> Step | None:
    """A step for this decoder as it is now, or None where the modules have to run; see `step_from`."""
    inner = decoder.model.decoder

    def embed(tokens: Tensor, past: int) -> Tensor:
        return (inner.embed_tokens(tokens) + inner.embed_positions(tokens, 1, past))[:, 0]

    return step_from(decoder, _PLAIN, embed, lambda program: _record(decoder, program))


def _record(decoder: trocr.TrOCRForCausalLM, program: Program) -> None:
    width, x = decoder.config.hidden_size, program.embedded
    joint, mixed = program.buffer(3 * width), program.buffer(width)
    inner = program.buffer(decoder.config.decoder_ffn_dim)
    norm = decoder.model.decoder.layernorm_embedding
    if norm is not None:
        program.norm(x, x, norm)
    for index, layer in enumerate(decoder.layers()):
        assert isinstance(layer, trocr.Layer)
        own, cross = layer.self_attn, layer.encoder_attn
        shape = {"layer": index, "heads": own.heads, "channels": width // own.heads, "scale": own.scale}
        program.linear(x, joint, *map(_pair, (own.q_proj, own.k_proj, own.v_proj)))
        program.attend_self(joint, mixed, **shape)
        program.linear(mixed, x, _pair(own.out_proj), added=x)
        program.norm(x, x, layer.self_attn_layer_norm)
        program.linear(x, joint, _pair(cross.q_proj))
        program.attend_cross(joint, mixed, **shape)
        program.linear(mixed, x, _pair(cross.out_proj), added=x)
        program.norm(x, x, layer.encoder_attn_layer_norm)
        program.linear(x, inner, _pair(layer.fc1), activation=layer.act)
        program.linear(inner, x, _pair(layer.fc2), added=x)
        program.norm(x, x, layer.final_layer_norm)
    program.linear(x, None, _pair(decoder.output_projection))


def _pair(module: nn.Linear) -> tuple[Tensor, Tensor | None]:
    return module.weight, module.bias
