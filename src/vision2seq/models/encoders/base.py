"""What encoders with one kind of layer share: the forward pass around their layers.

B images, C channels, H W pixels, S tokens, D hidden size, N heads.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from vision2seq.layers.outputs import EncoderOutput
from vision2seq.layers.patches import PatchGrid, pair
from vision2seq.models.base import PreTrainedModel


class Encoder(PreTrainedModel):
    """A vision encoder; families say how to embed, which layers, and how to end."""

    main_input_name: ClassVar[str] = "pixel_values"
    extra_tokens: int = 1
    """Tokens in front of those that stand for patches."""

    def patch_grid(self, height: int, width: int) -> PatchGrid:
        """Which part of pixels (B, C, H, W) each token of the last hidden state stands for.

        Args:
            height: H.
            width: W.
        """
        high, wide = pair(self.config.patch_size)
        return PatchGrid(height // high, width // wide, high, wide, self.extra_tokens)

    def embed(self, pixel_values: Tensor, interpolate_pos_encoding: bool) -> Tensor:
        """Patches with positions and what stands in front of them, (B, S, D)."""
        raise NotImplementedError

    def layers(self) -> nn.ModuleList:
        """The layers, each called as ``layer(x, need_weights)``."""
        raise NotImplementedError

    def end(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """What comes after the last layer: the hidden states as decoders read them, and the pooled one or None."""
        raise NotImplementedError

    def forward(
        self,
        pixel_values: Tensor,
        *,
        interpolate_pos_encoding: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Encode images.

        Args:
            pixel_values: (B, C, H, W), in any floating-point dtype.
            interpolate_pos_encoding: Accept other sizes than the config's, by stretching the positions; DINOv2 always
                does.
            output_attentions: Return the attention weights of each layer, (B, N, S, S).
            output_hidden_states: Return the embeddings and each layer's result, (B, S, D).
            return_dict: False returns a tuple.

        Raises:
            ImageError: The images have another size or number of channels than the model.
        """
        want_weights = self.config.output_attentions if output_attentions is None else output_attentions
        want_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x = self.embed(pixel_values, interpolate_pos_encoding)
        states, weights = [x], []
        for layer in self.layers():
            x, attention = self.checkpointed(layer, x, bool(want_weights))
            states.append(x)
            weights.append(attention)
        x, pooled = self.end(x)
        output = EncoderOutput(
            last_hidden_state=x,
            pooler_output=pooled,
            hidden_states=tuple(states) if want_states else None,
            attentions=tuple(weights) if want_weights else None,
        )
        return self.returned(output, return_dict)
