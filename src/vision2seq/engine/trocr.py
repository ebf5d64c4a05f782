"""One step of the TrOCR decoder: the sums of `models.decoders.trocr` for one new token a row."""

from __future__ import annotations

from torch import nn

from vision2seq.engine.program import Program
from vision2seq.engine.step import step_from
from vision2seq.models.decoders import trocr
from vision2seq.models.decoders.base import Decoder

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


def step_for(decoder: trocr.TrOCRForCausalLM) -> Program | None:
    """The program for this decoder as it is now, or None where the modules have to run; see `step_from`."""
    inner = decoder.model.decoder

    def write(program: Program) -> None:
        norm, head = inner.layernorm_embedding, decoder.output_projection
        tokens, positions = inner.embed_tokens, inner.embed_positions
        if isinstance(positions, trocr.SinusoidalPositions):
            padding = positions.padding_idx
            table = positions.rows(padding + 1 + decoder.max_positions)
            program.embed(program.embedded, tokens, table, first=padding + 1, padding=padding, scale=tokens.scale)
        else:
            program.embed(program.embedded, tokens, positions.weight, first=positions.OFFSET, scale=tokens.scale)
        record(decoder, program, norm_first=False, embedding_norm=norm, last_norm=None, head=head)

    return step_from(decoder, _PLAIN, write)


def record(
    decoder: Decoder,
    program: Program,
    *,
    norm_first: bool,
    embedding_norm: nn.LayerNorm | None,
    last_norm: nn.LayerNorm | None,
    head: nn.Module,
) -> None:
    """Write down the operations of a decoder of these layers.

    Args:
        decoder: Its layers are TrOCR's.
        program: What they are written into.
        norm_first: Whether each branch is normed before, and not after.
        embedding_norm: What norms the embeddings.
        last_norm: What norms the last layer's states.
        head: The projection to the vocabulary.
    """
    width, x = decoder.config.hidden_size, program.embedded
    joint, mixed = program.buffer(3 * width), program.buffer(width)
    inner = program.buffer(decoder.config.decoder_ffn_dim)
    # What a branch reads: x itself, or x normed.
    source = program.buffer(width) if norm_first else x

    def norm(module: nn.LayerNorm, *, before: bool) -> None:
        if before == norm_first:
            program.norm(x, source, module)

    if embedding_norm is not None:
        program.norm(x, x, embedding_norm)
    for index, layer in enumerate(decoder.layers()):
        assert isinstance(layer, trocr.Layer)
        own, cross = layer.self_attn, layer.encoder_attn
        shape = {"layer": index, "heads": own.heads, "channels": width // own.heads, "scale": own.scale}
        norm(layer.self_attn_layer_norm, before=True)
        program.linear(source, joint, own.q_proj, own.k_proj, own.v_proj)
        program.attend_self(joint, mixed, **shape)
        program.linear(mixed, x, own.out_proj, added=x)
        norm(layer.self_attn_layer_norm, before=False)
        norm(layer.encoder_attn_layer_norm, before=True)
        program.linear(source, joint, cross.q_proj)
        program.attend_cross(joint, mixed, **shape)
        program.linear(mixed, x, cross.out_proj, added=x)
        norm(layer.encoder_attn_layer_norm, before=False)
        norm(layer.final_layer_norm, before=True)
        program.linear(source, inner, layer.fc1, activation=layer.act)
        program.linear(inner, x, layer.fc2, added=x)
        norm(layer.final_layer_norm, before=False)
    if last_norm is not None:
        program.norm(x, x, last_norm)
    program.linear(x, None, head)
