"""One step of BERT and its kin: the sums of `models.decoders.bert` for one new token a row."""

from __future__ import annotations

from torch import nn

from vision2seq.engine.program import Program
from vision2seq.engine.step import step_from
from vision2seq.models.decoders import bert, bert_generation, electra, roberta

_PLAIN = {
    nn.Embedding,
    nn.LayerNorm,
    nn.Linear,
    nn.ModuleList,
    bert.Attention,
    bert.BertHead,
    bert.BertHeads,
    bert.BertLMHeadModel,
    bert.Embeddings,
    bert.Intermediate,
    bert.Layer,
    bert.Layers,
    bert.Output,
    bert.Projections,
    bert.Transform,
    bert.Trunk,
    bert_generation.BertGenerationDecoder,
    bert_generation.BertGenerationHead,
    electra.ElectraForCausalLM,
    electra.GeneratorPredictions,
    roberta.CamembertForCausalLM,
    roberta.RobertaForCausalLM,
    roberta.RobertaHead,
    roberta.XLMRobertaForCausalLM,
}


def step_for(decoder: bert.BertLMHeadModel) -> Program | None:
    """The program for this decoder as it is now, or None where the modules have to run; see `step_from`."""
    return step_from(decoder, _PLAIN, lambda program: _record(decoder, program))


def _record(decoder: bert.BertLMHeadModel, program: Program) -> None:
    width, x = decoder.config.hidden_size, program.embedded
    joint, mixed = program.buffer(3 * width), program.buffer(width)
    inner = program.buffer(decoder.config.intermediate_size)
    _embed(program, decoder.trunk)
    for index, layer in enumerate(decoder.layers()):
        assert isinstance(layer, bert.Layer)
        own, cross = layer.attention.self, layer.crossattention.self
        shape = {"layer": index, "heads": own.heads, "channels": width // own.heads, "scale": own.scale}
        program.linear(x, joint, own.query, own.key, own.value)
        program.attend_self(joint, mixed, **shape)
        _end(program, mixed, x, layer.attention.output)
        program.linear(x, joint, cross.query)
        program.attend_cross(joint, mixed, **shape)
        _end(program, mixed, x, layer.crossattention.output)
        program.linear(x, inner, layer.intermediate.dense, activation=layer.intermediate.act)
        _end(program, inner, x, layer.output)
    transformation = decoder.transformation()
    if transformation is not None:
        dense, act, norm = transformation
        x = program.buffer(dense.out_features)
        program.linear(program.embedded, x, dense, activation=act)
        program.norm(x, x, norm)
    program.linear(x, None, decoder.get_output_embeddings())


def _embed(program: Program, trunk: bert.Trunk) -> None:
    embeddings, project = trunk.embeddings, trunk.embeddings_project
    words, types = embeddings.word_embeddings, embeddings.token_type_embeddings
    x = program.embedded if project is None else program.buffer(words.embedding_dim)
    program.embed(
        x,
        words,
        embeddings.position_embeddings.weight,
        first=embeddings.padding + 1 if embeddings.counted else 0,
        padding=embeddings.padding if embeddings.counted else None,
        extra=None if types is None else types.weight[0],
    )
    program.norm(x, x, embeddings.LayerNorm)
    if project is not None:
        program.linear(x, program.embedded, project)


def _end(program: Program, source: int, x: int, output: bert.Output) -> None:
    program.linear(source, x, output.dense, added=x)
    program.norm(x, x, output.LayerNorm)
