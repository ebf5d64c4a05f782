"""Japanese BERT from vocab.txt, one token a character, as in manga-ocr.

transformers splits a text into words first, mostly with MeCab, and the words into characters. Since a word's first
character is spelled as any other, words do not show in the ids: no MeCab is needed. Word pieces within MeCab's words
are another matter; they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from vision2seq.errors import TokenizerError
from vision2seq.processing.text import wordpiece
from vision2seq.processing.text.files import VOCAB_TXT, TokenizerFiles
from vision2seq.processing.text.style import Style


def build(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    """Make a tokenizer of characters; see `Style`."""
    words = options.get("word_tokenizer_type", "basic") if options.get("do_word_tokenize", True) else "none"
    pieces = options.get("subword_tokenizer_type", "wordpiece") if options.get("do_subword_tokenize", True) else "none"
    if words == "basic" and pieces == "wordpiece":
        backend = wordpiece.build(files, {"do_lower_case": False, **options, "tokenize_chinese_chars": False})
    elif pieces == "character" and words != "none":
        vocab = wordpiece.read_vocabulary(files)
        backend = Backend(models.WordLevel(vocab, unk_token=str(options.get("unk_token") or "[UNK]")))
        lower = bool(options.get("do_lower_case", False))
        steps: list[normalizers.Normalizer] = [normalizers.NFKC()]
        if words == "basic":  # which takes out control characters, and accents if it lowers
            clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, lowercase=lower)
            steps = [clean, *steps]
        elif lower:
            steps += [normalizers.Lowercase(), normalizers.NFKC()]
        backend.normalizer = normalizers.Sequence(steps)
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("."), "isolated")]
        )
    else:
        raise TokenizerError(
            f"{files.name} splits text by word_tokenizer_type {words!r} and subword_tokenizer_type {pieces!r}. Known "
            "are 'character' after any, and 'wordpiece' after 'basic'. Save it as a fast tokenizer, with a "
            f"tokenizer.json beside {VOCAB_TXT}."
        )
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return backend


BERT_JAPANESE = Style(
    name="Japanese BERT",
    classes=("BertJapaneseTokenizer",),
    files=(VOCAB_TXT,),
    specials=wordpiece.BERT.specials,
    inputs=wordpiece.BERT.inputs,
    build=build,
    finish=wordpiece.finish,
)
