"""Writes the character tokenizer of `printed-line`: one token a character, nothing lost, nothing normalised.

Usage: `python tokenizer.py FOLDER` writes tokenizer.json, tokenizer_config.json and special_tokens_map.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, processors

from charset import CHARSET

SPECIAL_TOKENS: tuple[str, ...] = ("<s>", "<pad>", "</s>", "<unk>")
"""In the order of their ids, 0 to 3; the characters follow in the order of the charset."""


def build(characters: Sequence[str] = CHARSET) -> Tokenizer:
    """Builds the tokenizer.

    Args:
        characters: What can be read, each once.

    Returns:
        A tokenizer that puts `<s>` before and `</s>` after a text, and joins characters exactly when it decodes.
    """
    vocabulary = {token: number for number, token in enumerate((*SPECIAL_TOKENS, *characters))}
    # Byte-pair encoding without merges is one token a character; it needs no splitting that would touch the spaces.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", fuse_unk=False))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])],
    )
    return tokenizer


def write(folder: Path, *, longest: int = 128, characters: Sequence[str] = CHARSET) -> None:
    """Writes the tokenizer's files.

    Args:
        folder: Made where it does not exist.
        longest: Most tokens of a text, `<s>` and `</s>` included.
        characters: What can be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>"}
    named["sep_token"] = "</s>"
    config = {
        "added_tokens_decoder": {
            str(number): {
                "content": token,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
            for number, token in enumerate(SPECIAL_TOKENS)
        },
        "clean_up_tokenization_spaces": False,
        "model_max_length": longest,
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
    }
    for name, text in (
        ("tokenizer.json", build(characters).to_str(pretty=True)),
        ("tokenizer_config.json", json.dumps(config, indent=2, ensure_ascii=False)),
        ("special_tokens_map.json", json.dumps(named, indent=2, ensure_ascii=False)),
    ):
        temporary = folder / (name + ".part")
        temporary.write_text(text + "\n", encoding="utf-8")
        os.replace(temporary, folder / name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--longest", type=int, default=128, help="most tokens of a text")
    options = parser.parse_args(arguments)
    write(options.folder, longest=options.longest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
