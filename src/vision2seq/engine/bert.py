"""One step of BERT and its kin: the sums of `models.decoders.bert` for one new token a row."""

from __future__ import annotations

from torch import Tensor, nn

from vision2seq.engine.program import Program
from vision2seq.engine.step import Step, step_from
from vision2seq.models.decoders import bert

_PLAIN = {
    nn.Embedding,
    nn.LayerNorm,
    nn.Linear,
    nn.ModuleList,
    bert.Attention,
    bert.BertGenerationDecoder,
    bert.BertGenerationHead,
    bert.BertHead,
    bert.BertHeads,
    bert.BertLMHeadModel,
    bert.CamembertForCausalLM,
    bert.ElectraForCausalLM,
    bert.Embeddings,
    bert.GeneratorPredictions,
    bert.Intermediate,
    bert.Layer,
    bert.Layers,
    bert.Output,
    bert.Projections,
    bert.RobertaForCausalLM,
    bert.RobertaHead,
    bert.Transform,
    bert.Trunk,
    bert.XLMRobertaForCausalLM,
}


def step_for(decoder: bert.BertLMHeadModel) -> Step | None:
    """A step for this decoder as it is now, or None where the modules have to run; see `step_from`."""

    def embed(tokens: Tensor, past: int) -> Tensor:
        return decoder.trunk.embed(tokens, None, 1, past, 0.0)[:, 0]

    return step_from(decoder, _PLAIN, embed, lambda program: _record(decoder, program))


def _record(decoder: bert.BertLMHeadModel, program: Program) -> None:
    width, x = decoder.config.hidden_size, program.embedded
    joint, mixed = program.buffer(3 * width), program.buffer(width)
    inner = program.buffer(decoder.config.intermediate_size)
    for index, layer in enumerate(decoder.layers()):
        assert isinstance(layer, bert.Layer)
        own, cross = layer.attention.self, layer.crossattention.self
        shape = {"layer": index, "heads": own.heads, "channels": width // own.heads, "scale": own.scale}
        program.linear(x, joint, *map(_pair, (own.query, own.key, own.value)))
        program.attend_self(joint, mixed, **shape)
        _end(program, mixed, x, layer.attention.output)
        program.linear(x, joint, _pair(cross.query))
        program.attend_cross(joint, mixed, **shape)
        _end(program, mixed, x, layer.crossattention.output)
        program.linear(x, inner, _pair(layer.intermediate.dense), activation=layer.intermediate.act)
        _end(program, inner, x, layer.output)
    transformation = decoder.transformation()
    if transformation is not None:
        dense, act, norm = transformation
        x = program.buffer(dense.out_features)
        program.linear(program.embedded, x, _pair(dense), activation=act)
        program.norm(x, x, norm)
    program.linear(x, None, _pair(decoder.get_output_embeddings()))


def _end(program: Program, source: int, x: int, output: bert.Output) -> None:
    program.linear(source, x, _pair(output.dense), added=x)
    program.norm(x, x, output.LayerNorm)


def _pair(module: nn.Linear) -> tuple[Tensor, Tensor | None]:
    return module.weight, module.bias
