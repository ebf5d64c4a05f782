"""VisionEncoderDecoderModel: any vision encoder, any text decoder with cross-attention, and what is between them.

Source: the behaviour of transformers 4.57.6 ``VisionEncoderDecoderModel``, with the loss of 5.23 (4.57 shifts the
labels a second time and so trains to predict the token after next).

B images, C channels, H W pixels, S image tokens, D encoder width, T tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq import generation, hub, registry
from vision2seq.configuration.base import Config, config_file, read_json
from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.configuration.generation import GENERATION_CONFIG_NAME, GenerationConfig, reject_unknown
from vision2seq.errors import ConfigError, OptionError, UnknownOptionError, UnsupportedError, nearest
from vision2seq.generation.continuous import Row
from vision2seq.generation.loop import make_plan
from vision2seq.layers.outputs import EncoderOutput, Seq2SeqOutput
from vision2seq.models.base import PreTrainedModel
from vision2seq.models.session import ModelSession, compiled_step
from vision2seq.models.slots import checked_pixels, each

IGNORED_LABEL = -100
_BATCH_BY_BATCH = (
    "constraint",
    "decoder_attention_mask",
    "encoder_outputs",
    "logits_processor",
    "prefix_allowed_tokens_fn",
    "stopping_criteria",
    "streamer",
)
"""Arguments of ``generate`` that ``generate_each`` has no use for."""


def shift_tokens_right(labels: Tensor, pad_token_id: int | None, decoder_start_token_id: int | None) -> Tensor:
    """Make decoder inputs of labels: the start token first, the last label dropped, ignored labels become padding.

    Args:
        labels: (B, T) token ids, -100 where ignored.
        pad_token_id: Stands for ignored labels.
        decoder_start_token_id: Comes first.

    Raises:
        ConfigError: One of the two ids is None.
    """
    for name, value in (("decoder_start_token_id", decoder_start_token_id), ("pad_token_id", pad_token_id)):
        if value is None:
            raise ConfigError(
                f"Make sure to set the {name} attribute of the model's configuration: training from labels needs it. "
                f"Set model.config.{name} to the tokenizer's id (for TrOCR and RoBERTa tokenizers: "
                f"{'tokenizer.cls_token_id or eos_token_id' if 'start' in name else 'tokenizer.pad_token_id'})."
            )
    assert pad_token_id is not None
    assert decoder_start_token_id is not None
    shifted = labels.new_full(labels.shape, decoder_start_token_id)
    shifted[:, 1:] = labels[:, :-1]
    return shifted.masked_fill(shifted == IGNORED_LABEL, pad_token_id)


def cross_entropy(
    logits: Tensor, labels: Tensor, *, num_items_in_batch: Tensor | int | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """The loss of a sequence: cross-entropy of logits (B, T, V) against labels (B, T), -100 ignored, in float32.

    Args:
        logits: Position t predicts label t; nothing is shifted here.
        labels: Token ids.
        num_items_in_batch: Divide the sum by this instead of by the labels counted here, so that accumulated
            gradients weigh every token equally.
        label_smoothing: Share of the probability spread over all tokens.
    """
    flat, target = logits.float().flatten(0, 1), labels.flatten().to(logits.device)
    if num_items_in_batch is None:
        return F.cross_entropy(flat, target, ignore_index=IGNORED_LABEL, label_smoothing=label_smoothing)
    total = F.cross_entropy(flat, target, ignore_index=IGNORED_LABEL, label_smoothing=label_smoothing, reduction="sum")
    return total / num_items_in_batch


class VisionEncoderDecoderModel(PreTrainedModel):
    """An image encoder and a text decoder joined by cross-attention."""

    config_class: ClassVar[Any] = VisionEncoderDecoderConfig
    base_model_prefix: ClassVar[str] = "vision_encoder_decoder"
    precision: str = "fp32"
    """What the weights are packed as, see `vision2seq.engine.precision`."""
    encoder: Any
    decoder: Any

    def __init__(
        self,
        config: VisionEncoderDecoderConfig | None = None,
        encoder: PreTrainedModel | None = None,
        decoder: PreTrainedModel | None = None,
    ) -> None:
        """Build the model.

        Args:
            config: The shape, of which a copy is taken; may be None if both models are given. The halves refer to
                the copy's parts from then on.
            encoder: A ready encoder; None builds one.
            decoder: A ready decoder; None builds one.

        Raises:
            ConfigError: Neither a config nor both halves; or widths that contradict each other.
            OptionError: A half that is no module.
        """
        for role, half in (("encoder", encoder), ("decoder", decoder)):
            if half is not None and not isinstance(half, nn.Module):
                raise OptionError(
                    f"The {role} is a {type(half).__name__}; expected a ready model, or None to build one."
                )
        if config is None:
            if encoder is None or decoder is None:
                raise ConfigError("Either a config or both an encoder and a decoder have to be given.")
            config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder.config, decoder.config)
        super().__init__(config.copy() if isinstance(config, Config) else config)
        config = self.config
        width, cross = config.encoder.hidden_size, config.decoder.cross_attention_hidden_size
        if cross is not None and cross != width:
            raise ConfigError(
                f"The decoder's cross_attention_hidden_size is {cross}, the encoder's hidden_size is {width}; "
                "expected the same number, or None for a projection between the two."
            )
        config.tie_word_embeddings = False  # the halves tie their own
        if config.tie_encoder_decoder:
            warnings.warn(
                "config.tie_encoder_decoder is True, but modules of a vision encoder and of a text decoder have no "
                "names in common: nothing is tied, as in transformers 4.57.6. Set it to False.",
                UserWarning,
                stacklevel=2,
            )
        config.decoder.is_decoder = True
        config.decoder.add_cross_attention = True
        if encoder is None:
            encoder = registry.model_class(config.encoder.model_type, "encoder")(config.encoder)
        if decoder is None:
            decoder = registry.model_class(config.decoder.model_type, "decoder")(config.decoder)
        assert encoder is not None
        assert decoder is not None
        self.encoder, self.decoder = encoder, decoder
        self.encoder.config, self.decoder.config = config.encoder, config.decoder
        self.enc_to_dec_proj: nn.Linear | None = None
        if cross is None and width != config.decoder.hidden_size:
            self.enc_to_dec_proj = nn.Linear(width, config.decoder.hidden_size)
        self.generation_config = GenerationConfig.from_model_config(config)

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        decoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> VisionEncoderDecoderModel:
        """Join a pretrained encoder and a pretrained decoder; cross-attention that a file lacks starts at random.

        Args:
            encoder_pretrained_model_name_or_path: A folder with an encoder; not needed with ``encoder_model``.
            decoder_pretrained_model_name_or_path: A folder with a decoder; not needed with ``decoder_model``.
            kwargs: ``encoder_…`` and ``decoder_…`` go to the loading of the halves (``…_model`` is a ready half,
                ``…_config`` its config, all else as in ``from_pretrained``); the rest is set on the joint config.

        Returns:
            A model in evaluation mode whose config has ``decoder_start_token_id``, ``pad_token_id`` and
            ``eos_token_id``, as far as the decoder's config tells them.

        Raises:
            OptionError: Neither a name nor a ready half.
        """
        halves: dict[str, PreTrainedModel] = {}
        names = {"encoder": encoder_pretrained_model_name_or_path, "decoder": decoder_pretrained_model_name_or_path}
        arguments: dict[str, dict[str, Any]] = {role: {} for role in names}
        for role in names:
            prefix = f"{role}_"
            for key in [key for key in kwargs if key.startswith(prefix) and key != "decoder_start_token_id"]:
                arguments[role][key.removeprefix(prefix)] = kwargs.pop(key)
        for role, name in names.items():
            ready = arguments[role].pop("model", None)
            if ready is None and name is None:
                raise OptionError(
                    f"Pass {role}_pretrained_model_name_or_path, the folder of one, or a ready one as {role}_model."
                )
            halves[role] = ready if ready is not None else _load_half(role, name, arguments[role])
        config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
            halves["encoder"].config, halves["decoder"].config, **kwargs
        )
        _infer_ids(config)
        model = cls(config, halves["encoder"], halves["decoder"])
        if model.enc_to_dec_proj is not None:
            model._init_weights(model.enc_to_dec_proj)
        return model.eval()

    def _loaded_from(self, source: hub.Source) -> None:
        file = source.get(GENERATION_CONFIG_NAME)
        if file is not None:
            self.generation_config = GenerationConfig.from_pretrained(file)
        else:
            self.generation_config = GenerationConfig.from_model_config(self.config)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write config.json, generation_config.json and the weights; see `PreTrainedModel.save_pretrained`."""
        self.generation_config.check_values()
        super().save_pretrained(save_directory, **kwargs)
        self.generation_config.save_pretrained(save_directory)

    def _init_weights(self, module: nn.Module) -> None:
        if module is self.enc_to_dec_proj:
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def init_weights(self) -> None:
        """Initialise all weights anew, each half in its own way."""
        with torch.no_grad():
            self.encoder.init_weights()
            self.decoder.init_weights()
            if self.enc_to_dec_proj is not None:
                self._init_weights(self.enc_to_dec_proj)

    def tie_weights(self) -> None:
        """Each half ties its own."""
        self.encoder.tie_weights()
        self.decoder.tie_weights()

    def _name_here(self, name: str, known: set[str]) -> str:
        """As for any model, then for the prefix of a half's own: transformers 5 writes CLIP without it."""
        new = super()._name_here(name, known)
        half, _, rest = new.partition(".")
        if new in known or half not in ("encoder", "decoder"):
            return new
        prefix = f"{getattr(self, half).base_model_prefix}."
        other = f"{half}.{rest.removeprefix(prefix) if rest.startswith(prefix) else prefix + rest}"
        return other if other in known else new

    def _is_not_needed(self, name: str) -> bool:
        half, _, rest = name.partition(".")
        return half in ("encoder", "decoder") and getattr(self, half)._is_not_needed(rest)

    def get_encoder(self) -> PreTrainedModel:
        """The encoder."""
        return self.encoder

    def get_decoder(self) -> PreTrainedModel:
        """The decoder."""
        return self.decoder

    def get_input_embeddings(self) -> Any:
        """The decoder's token embeddings."""
        return self.decoder.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        """The decoder's projection to the vocabulary."""
        return self.decoder.get_output_embeddings()

    # ------------------------------------------------------------------------------------------------------ running

    def encode(self, pixel_values: Tensor | None, encoder_outputs: Any = None, **arguments: Any) -> tuple[Any, Tensor]:
        """Run the encoder unless its outputs are given.

        Args:
            pixel_values: (B, C, H, W).
            encoder_outputs: What an encoder returned, or a tuple of it.
            arguments: For the encoder.

        Returns:
            The encoder's output, and what the decoder looks at, (B, S, D').
        """
        if encoder_outputs is None:
            if pixel_values is None:
                raise OptionError("You have to specify pixel_values, or encoder_outputs instead.")
            encoder_outputs = self.encoder(pixel_values, return_dict=True, **arguments)
        elif isinstance(encoder_outputs, tuple | list):
            memory, *rest = encoder_outputs
            pooled = rest.pop(0) if rest and isinstance(rest[0], Tensor) else None  # many encoders return none
            encoder_outputs = EncoderOutput(memory, pooled, *rest)
        memory = encoder_outputs[0]
        if self.precision != "fp32":
            memory = memory.to(self.encoder.dtype)
        return encoder_outputs, memory if self.enc_to_dec_proj is None else self.enc_to_dec_proj(memory)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        num_items_in_batch: Tensor | int | None = None,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> Any:
        """Encode images, decode tokens, and compare with labels if there are any.

        Args:
            pixel_values: (B, C, H, W).
            decoder_input_ids: (B, T). Made of the labels if they are given and this is not.
            decoder_attention_mask: (B, past + T), 0 for padding.
            encoder_outputs: Instead of ``pixel_values``.
            past_key_values: The cache of an earlier output.
            decoder_inputs_embeds: (B, T, D') instead of ``decoder_input_ids``.
            labels: (B, T), -100 where they do not count.
            use_cache: Return a cache.
            output_attentions: Return all attention weights.
            output_hidden_states: Return all hidden states.
            return_dict: False returns a tuple.
            num_items_in_batch: See `cross_entropy`.
            label_smoothing: See `cross_entropy`.
            kwargs: ``decoder_…`` go to the decoder without the prefix, all others to the encoder.

        Returns:
            A `Seq2SeqOutput`.

        Raises:
            ConfigError: Labels without ``decoder_start_token_id`` or ``pad_token_id`` in the config.
            UnknownOptionError: An argument that neither half knows.
        """
        for_decoder = {k.removeprefix("decoder_"): v for k, v in kwargs.items() if k.startswith("decoder_")}
        for_encoder = {k: v for k, v in kwargs.items() if not k.startswith("decoder_")}
        _check_arguments(self.encoder, for_encoder, "")
        _check_arguments(self.decoder, for_decoder, "decoder_")
        config = self.config
        # Off at the top means that nobody asked here: each half's own config decides then.
        attentions = (config.output_attentions or None) if output_attentions is None else output_attentions
        states = (config.output_hidden_states or None) if output_hidden_states is None else output_hidden_states
        wanted = {"output_attentions": attentions, "output_hidden_states": states}
        encoded, memory = self.encode(pixel_values, encoder_outputs, **wanted, **for_encoder)
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = shift_tokens_right(labels, config.pad_token_id, config.decoder_start_token_id)
        decoded = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=memory,
            past_key_values=past_key_values,
            inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **wanted,
            **for_decoder,
        )
        loss = None
        if labels is not None:
            loss = cross_entropy(
                decoded.logits, labels, num_items_in_batch=num_items_in_batch, label_smoothing=label_smoothing
            )
        output = Seq2SeqOutput(
            loss=loss,
            logits=decoded.logits,
            past_key_values=decoded.past_key_values,
            decoder_hidden_states=decoded.hidden_states,
            decoder_attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            encoder_last_hidden_state=encoded.last_hidden_state,
            encoder_hidden_states=encoded.hidden_states,
            encoder_attentions=encoded.attentions,
        )
        return self.returned(output, return_dict)

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        prefix_allowed_tokens_fn: Any = None,
        *,
        streamer: Any = None,
        tokenizer: Any = None,
        constraint: Any = None,
        pixel_values: Tensor | None = None,
        encoder_outputs: Any = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate text for images.

        Args:
            inputs: (B, C, H, W), the pixels; ``pixel_values`` is the same.
            generation_config: Options; what it leaves at its default comes from the model's own.
            logits_processor: See `vision2seq.generation.generate`, also for the next three.
            stopping_criteria: Likewise.
            prefix_allowed_tokens_fn: Likewise.
            streamer: Likewise.
            tokenizer: Likewise.
            constraint: What the texts have to be, one of `vision2seq.generation.constraints`; needs ``tokenizer``.
            pixel_values: Instead of ``inputs``.
            encoder_outputs: What the encoder returned, instead of pixels.
            decoder_input_ids: (B, T), what the texts begin with; the start token is put before it if it is not there.
            decoder_attention_mask: Must be all ones; padded prompts are not built.
            kwargs: Options of `GenerationConfig`, which win, and arguments of the encoder.

        Returns:
            Token ids (B * num_return_sequences, length), or a `GenerateOutput` with ``return_dict_in_generate``.

        Raises:
            ImageError: Pixels that are not finite numbers, or do not fit the model.
            OptionError: An option that cannot be honoured; UnknownOptionError if nobody knows it.
            ConfigError: No token to start with.
        """
        if inputs is not None and pixel_values is not None:
            raise OptionError("Both inputs and pixel_values were given; they are the same, pass one.")
        session, arguments, encoded = self._start(
            inputs if pixel_values is None else pixel_values,
            generation_config,
            encoder_outputs,
            decoder_input_ids,
            decoder_attention_mask,
            kwargs,
        )
        config = arguments["config"]
        output = generation.generate(
            session,
            **arguments,
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
            prefix_allowed_tokens_fn=prefix_allowed_tokens_fn,
            streamer=streamer,
            tokenizer=tokenizer,
            constraint=constraint,
        )
        if not config.return_dict_in_generate:
            return output.sequences
        output.encoder_attentions, output.encoder_hidden_states = encoded.attentions, encoded.hidden_states
        return output

    @torch.no_grad()
    def start(self, pixel_values: Tensor, **kwargs: Any) -> tuple[ModelSession, dict[str, Any]]:
        """Encode images and stop there: for callers that drive `vision2seq.generation.iterate` themselves.

        Args:
            pixel_values: (B, C, H, W).
            kwargs: As in `generate`.

        Returns:
            A session, and the ``prompt``, ``config`` and ``limit`` that go with it.
        """
        ids, mask = kwargs.pop("decoder_input_ids", None), kwargs.pop("decoder_attention_mask", None)
        session, arguments, _ = self._start(
            pixel_values, kwargs.pop("generation_config", None), None, ids, mask, kwargs
        )
        return session, arguments

    def _start(
        self,
        pixel_values: Tensor | None,
        generation_config: GenerationConfig | None,
        encoder_outputs: Any,
        decoder_input_ids: Tensor | None,
        decoder_attention_mask: Tensor | None,
        options: dict[str, Any],
    ) -> tuple[ModelSession, dict[str, Any], Any]:
        """Settle the options, run the encoder, open a session."""
        config, for_encoder = self._settled(generation_config, options)
        if decoder_attention_mask is not None and not bool(decoder_attention_mask.bool().all()):
            raise UnsupportedError(
                "decoder_attention_mask hides some tokens of the prompt, which is not built for generation; "
                "pass prompts of one length."
            )
        if pixel_values is not None:
            pixel_values = checked_pixels(pixel_values).to(self.device)
        attentions = bool(config.output_attentions and config.return_dict_in_generate)
        states = bool(config.output_hidden_states and config.return_dict_in_generate)
        encoded, memory = self.encode(
            pixel_values, encoder_outputs, output_attentions=attentions, output_hidden_states=states, **for_encoder
        )
        memory = memory.to(self.decoder.device)
        session = ModelSession(self.decoder, memory, output_attentions=attentions, output_hidden_states=states)
        prompt = _prompt(config, memory, decoder_input_ids, self.config, self.get_input_embeddings().num_embeddings)
        return session, {"prompt": prompt, "config": config, "limit": self.decoder.max_positions}, encoded

    def _settled(
        self, generation_config: GenerationConfig | None, options: dict[str, Any]
    ) -> tuple[GenerationConfig, dict[str, Any]]:
        """A call's options of generation, and its arguments of the encoder."""
        if not isinstance(generation_config, GenerationConfig | None):
            raise OptionError(
                f"generation_config is a {type(generation_config).__name__}, expected a GenerationConfig; options can "
                "also be given one by one, as num_beams=4."
            )
        own = self.generation_config.following(self.config)
        base = own if generation_config is None else generation_config.filled_from(own)
        config, unused = base.with_call(**options)
        encoder_known = inspect.signature(self.encoder.forward).parameters
        for_encoder = {name: unused.pop(name) for name in list(unused) if name in encoder_known}
        reject_unknown(unused, ("pixel_values", "decoder_input_ids", "encoder_outputs", *encoder_known))
        return config, for_encoder

    def generate_each(
        self, images: Iterable[tuple[Any, Tensor]], *, slots: int = 16, **kwargs: Any
    ) -> Iterator[Row] | None:
        """Generate text for a stream of images, each as soon as a place for it is free.

        Texts are those of `generate`; they come as they end. Images of one size share the places; where the size
        changes, all that run are ended first.

        Args:
            images: What each is known by, and its pixels (C, H, W). Taken as there are places.
            slots: Texts that run at a time.
            kwargs: As in `generate`, with one prompt for all.

        Returns:
            Rows with the key, ids and log-probabilities, and why each ended: "error" for an image that the model cannot
            take, with the message. None where texts have to be generated batch by batch: beams, sampling and other
            rules, devices and decoders without compiled steps.

        Raises:
            OptionError: As `generate` does.
        """
        own = [kwargs.pop(name, None) for name in _BATCH_BY_BATCH]
        if any(value is not None for value in own):
            return None
        given, tokenizer = kwargs.pop("decoder_input_ids", None), kwargs.pop("tokenizer", None)
        config, for_encoder = self._settled(kwargs.pop("generation_config", None), kwargs)
        vocabulary = self.get_input_embeddings().num_embeddings
        prompt = _prompt(config, torch.empty(1, 0), given, self.config, vocabulary)
        plan = make_plan(prompt, config, limit=self.decoder.max_positions, tokenizer=tokenizer)
        step = compiled_step(self.decoder) if plan.runs_continuously(vocabulary) else None
        return None if step is None else each(self, images, slots, step, plan, prompt[0], for_encoder)


def _prompt(
    config: GenerationConfig, memory: Tensor, given: Tensor | None, model_config: Config, vocabulary: int
) -> Tensor:
    """What every text begins with, (B, T): the start token, and what the caller wants after it."""
    start = config.decoder_start_token_id
    start = config.bos_token_id if start is None else start
    count = memory.shape[0]
    if start is None and given is None:
        raise ConfigError(
            "`decoder_start_token_id` or `bos_token_id` has to be defined for encoder-decoder generation, and neither "
            "the config nor the call says one. Set model.config.decoder_start_token_id to the tokenizer's id."
        )
    if given is not None:
        if not isinstance(given, Tensor):
            raise OptionError(f"decoder_input_ids are a {type(given).__name__}, expected a tensor [images, tokens].")
        if given.ndim != 2 or given.shape[0] != count or given.is_floating_point():
            raise OptionError(
                f"decoder_input_ids are {given.dtype} of shape {list(given.shape)}; expected whole numbers of shape "
                f"[{count}, tokens], a row for each image."
            )
        given = given.to(device=memory.device, dtype=torch.long)
        _check_ids("decoder_input_ids", given, vocabulary)
    if start is None:
        assert given is not None
        return given
    first = torch.as_tensor(start, dtype=torch.long, device=memory.device).reshape(-1, 1)
    if first.shape[0] not in (1, count):
        raise OptionError(
            f"decoder_start_token_id lists {first.shape[0]} ids for {count} images; expected one, or {count}."
        )
    _check_ids("decoder_start_token_id", first, vocabulary)
    first = first.expand(count, 1)
    if given is None:
        return first
    # Donut's prompts begin with a task token instead of a start token.
    if "donut" in model_config.encoder.model_type or not bool((given[:, :1] != first).all()):
        return given
    return torch.cat([first, given], dim=1)


def _check_ids(name: str, ids: Tensor, vocabulary: int) -> None:
    """Raise for ids that the decoder has no embeddings for."""
    for token in ids.flatten().tolist():
        if not 0 <= token < vocabulary:
            raise OptionError(f"{name} holds {token}, but the decoder's tokens are 0 to {vocabulary - 1}.")


def _load_half(role: str, name: Any, arguments: dict[str, Any]) -> PreTrainedModel:
    """Load an encoder or decoder of whatever family its config names."""
    config = arguments.get("config")
    if not isinstance(config, Config):
        name = hub.find(name, arguments)
        if isinstance(config, dict):
            where, values = f"The dict given as {role}_config=", config
        else:
            file = config_file(name if config is None else hub.find_beside(name, config))
            where, values = str(file), read_json(file)
        model_type = values.get("model_type")
        if not isinstance(model_type, str):
            raise ConfigError(f"{where} has no model_type; expected one of a {role} such as 'vit' or 'gpt2'.")
        config = registry.config_class(model_type, role).from_dict(values)
        config.is_decoder = config.add_cross_attention = role == "decoder"
        arguments["config"] = config
    return registry.model_class(config.model_type, role).from_pretrained(name, **arguments)


def _infer_ids(config: VisionEncoderDecoderConfig) -> None:
    """Set the ids that training and generation need where nobody did: from the decoder's config."""
    decoder = config.decoder
    candidates = {
        "decoder_start_token_id": (decoder.decoder_start_token_id, decoder.bos_token_id),
        "eos_token_id": (decoder.eos_token_id,),
        # GPT-2 has no padding token: its end token does, as finished rows are masked anyhow.
        "pad_token_id": (decoder.pad_token_id, decoder.eos_token_id),
        "bos_token_id": (decoder.bos_token_id,),
    }
    for name, values in candidates.items():
        if getattr(config, name) is None:
            setattr(config, name, next((value for value in values if isinstance(value, int)), None))


def _check_arguments(half: nn.Module, arguments: dict[str, Any], prefix: str) -> None:
    known = inspect.signature(half.forward).parameters
    for name in arguments:
        if name not in known:
            raise UnknownOptionError(
                f"Unknown argument {prefix + name!r}: {type(half).__name__} does not take {name!r}."
                f"{nearest(name, known)}"
            )
