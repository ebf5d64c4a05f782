"""A tokenizer of one token a character: small, and it loses and normalises nothing."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, decoders, models, processors
from tokenizers import Tokenizer as Backend

from vision2seq.errors import TokenizerError
from vision2seq.processing.text.load import PreTrainedTokenizerFast

SPECIAL_TOKENS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
"""In the order of their ids, from 0 on; the characters follow."""


def character_tokenizer(characters: Iterable[str]) -> PreTrainedTokenizerFast:
    """Make a tokenizer that puts ``<s>`` before a text and ``</s>`` after it.

    Args:
        characters: What it can spell, in the order of their ids; all else becomes ``<unk>``.

    Raises:
        TokenizerError: Something that is no single character, or twice.
    """
    characters = list(characters)
    wrong = [each for each in characters if len(each) != 1 or characters.count(each) > 1]
    if wrong:
        raise TokenizerError(f"{wrong[0]!r} is among the characters; expected single ones, each of them once.")
    special = list(SPECIAL_TOKENS.values())
    vocabulary = {token: number for number, token in enumerate([*special, *characters])}
    # Byte-pair encoding without a single pair to join leaves characters, and splits nothing off at spaces before.
    backend = Backend(models.BPE(vocab=vocabulary, merges=[], unk_token=SPECIAL_TOKENS["unk_token"]))
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    backend.decoder = decoders.Fuse()
    begin, end = SPECIAL_TOKENS["bos_token"], SPECIAL_TOKENS["eos_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(token, vocabulary[token]) for token in (begin, end)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **SPECIAL_TOKENS)
