"""The tokenizer classes by the names that checkpoints and old scripts use, and the choice between them for a folder."""

from __future__ import annotations

import os
from typing import Any

from vision2seq.processing.output import nougat
from vision2seq.processing.text.bert_generation import BERT_GENERATION
from vision2seq.processing.text.blenderbot_small import BLENDERBOT_SMALL
from vision2seq.processing.text.byte_level import BART, BLENDERBOT, GPT2, ROBERTA
from vision2seq.processing.text.choose import choose_style, written_name
from vision2seq.processing.text.fairseq import BARTHEZ, CAMEMBERT, MBART, MBART50, XGLM, XLM_ROBERTA
from vision2seq.processing.text.files import TokenizerFiles
from vision2seq.processing.text.japanese import BERT_JAPANESE
from vision2seq.processing.text.language_tokenizer import LanguageTokenizer
from vision2seq.processing.text.marian import MARIAN
from vision2seq.processing.text.pegasus import PEGASUS
from vision2seq.processing.text.python_tokenizer import PythonTokenizer
from vision2seq.processing.text.rembert import BIG_BIRD, REMBERT
from vision2seq.processing.text.style import GENERIC, NOUGAT
from vision2seq.processing.text.tokenizer import Tokenizer, read_tokenizer_json
from vision2seq.processing.text.wordpiece import BERT


def load_tokenizer(folder: str | os.PathLike[str], model_type: str | None = None, **overrides: Any) -> Tokenizer:
    """Read the tokenizer of a checkpoint folder as one of the class that its files name or imply.

    Args:
        folder: Holds one of the file layouts, or is a tokenizer.json.
        model_type: Of the decoder, such as ``"gpt2"``: decides what files leave open.
        overrides: Any key of tokenizer_config.json; they win over the files.

    Raises:
        CheckpointNotFoundError: No such folder.
        TokenizerError: Files are missing, garbled or contradict each other, or are of no known kind.
        UnknownOptionError: An override that no tokenizer has.
    """
    files = TokenizerFiles.find(folder)
    backend = read_tokenizer_json(files)
    style, class_name, stated = choose_style(None, files, backend, model_type)
    chosen = CLASSES.get(class_name) or CLASSES.get(written_name(style), PreTrainedTokenizerFast)
    return chosen._from_files(files, overrides, backend, style, class_name, stated)


class RobertaTokenizer(Tokenizer):
    """RoBERTa's and TrOCR's: byte-level BPE, ``<s> … </s>`` around the text."""

    style = ROBERTA


class RobertaTokenizerFast(RobertaTokenizer):
    """The same as `RobertaTokenizer`."""


class BartTokenizer(Tokenizer):
    """BART's, which is RoBERTa's."""

    style = BART


class BartTokenizerFast(BartTokenizer):
    """The same as `BartTokenizer`."""


class GPT2Tokenizer(Tokenizer):
    """GPT-2's: byte-level BPE, nothing around the text."""

    style = GPT2


class GPT2TokenizerFast(GPT2Tokenizer):
    """The same as `GPT2Tokenizer`."""


class XLMRobertaTokenizer(Tokenizer):
    """XLM-RoBERTa's and small TrOCR's: SentencePiece in fairseq's numbering, ``<s> … </s>`` around the text."""

    style = XLM_ROBERTA


class XLMRobertaTokenizerFast(XLMRobertaTokenizer):
    """The same as `XLMRobertaTokenizer`."""


class MBartTokenizer(LanguageTokenizer):
    """mBART's: XLM-RoBERTa's pieces, and the code of the language behind the text."""

    style = MBART
    language_first = False


class MBartTokenizerFast(MBartTokenizer):
    """The same as `MBartTokenizer`."""


class MBart50Tokenizer(LanguageTokenizer):
    """mBART-50's: XLM-RoBERTa's pieces, and the code of the language before the text."""

    style = MBART50
    language_first = True


class MBart50TokenizerFast(MBart50Tokenizer):
    """The same as `MBart50Tokenizer`."""


class CamembertTokenizer(Tokenizer):
    """CamemBERT's: SentencePiece in fairseq's numbering, ``<s> … </s>`` around the text."""

    style = CAMEMBERT


class CamembertTokenizerFast(CamembertTokenizer):
    """The same as `CamembertTokenizer`."""


class BarthezTokenizer(Tokenizer):
    """BARThez': SentencePiece in the order of its file, ``<s> … </s>`` around the text."""

    style = BARTHEZ


class BarthezTokenizerFast(BarthezTokenizer):
    """The same as `BarthezTokenizer`."""


class XGLMTokenizer(Tokenizer):
    """XGLM's: SentencePiece in fairseq's numbering, ``</s>`` before the text."""

    style = XGLM


class XGLMTokenizerFast(XGLMTokenizer):
    """The same as `XGLMTokenizer`."""


class PegasusTokenizer(Tokenizer):
    """Pegasus': SentencePiece, ``</s>`` behind the text."""

    style = PEGASUS


class PegasusTokenizerFast(PegasusTokenizer):
    """The same as `PegasusTokenizer`."""


class RemBertTokenizer(Tokenizer):
    """RemBERT's: SentencePiece, ``[CLS] … [SEP]`` around the text."""

    style = REMBERT


class RemBertTokenizerFast(RemBertTokenizer):
    """The same as `RemBertTokenizer`."""


class BigBirdTokenizer(Tokenizer):
    """BigBird's: SentencePiece, ``[CLS] … [SEP]`` around the text."""

    style = BIG_BIRD


class BigBirdTokenizerFast(BigBirdTokenizer):
    """The same as `BigBirdTokenizer`."""


class BlenderbotTokenizer(Tokenizer):
    """Blenderbot's: RoBERTa's, with ``</s>`` behind the text and nothing before it."""

    style = BLENDERBOT


class BlenderbotTokenizerFast(BlenderbotTokenizer):
    """The same as `BlenderbotTokenizer`."""


class BertGenerationTokenizer(PythonTokenizer):
    """BERT generation's: SentencePiece, nothing around the text."""

    style = BERT_GENERATION


class MarianTokenizer(PythonTokenizer):
    """Marian's: SentencePiece, ``</s>`` behind the text; ``text_target`` in the other language."""

    style = MARIAN


class BlenderbotSmallTokenizer(PythonTokenizer):
    """Blenderbot-small's: BPE of lower-case words, nothing around the text."""

    style = BLENDERBOT_SMALL


class BertTokenizer(Tokenizer):
    """BERT's: WordPiece, ``[CLS] … [SEP]`` around the text."""

    style = BERT


class BertTokenizerFast(BertTokenizer):
    """The same as `BertTokenizer`."""


class ElectraTokenizer(BertTokenizer):
    """ELECTRA's, which is BERT's."""


class ElectraTokenizerFast(ElectraTokenizer):
    """The same as `ElectraTokenizer`."""


class BertJapaneseTokenizer(PythonTokenizer):
    """manga-ocr's: one token a character, or word pieces, ``[CLS] … [SEP]`` around the text."""

    style = BERT_JAPANESE


class NougatTokenizerFast(Tokenizer):
    """Nougat's: a tokenizer.json, with names for its special tokens; and what is done with its texts."""

    style = NOUGAT

    def post_process_generation(
        self, generation: str | list[str], fix_markdown: bool = True, num_workers: int | None = None
    ) -> str | list[str]:
        """Put the text of one page or of several in order; as `NougatProcessor.post_process_generation`."""
        return nougat.post_process_generation(generation, fix_markdown)

    def post_process_single(self, generation: str, fix_markdown: bool = True) -> str:
        """Put the text of one page in order; see `vision2seq.processing.output.nougat`, also for the next two."""
        return nougat.post_process_single(generation, fix_markdown)

    def correct_tables(self, generation: str) -> str:
        """Take out tables that are loops or empty, and give each table lines of its own."""
        return nougat.correct_tables(generation)

    def remove_hallucinated_references(self, text: str) -> str:
        """Put ``[MISSING_PAGE_POST]`` in the place of long lists whose lines are all alike."""
        return nougat.remove_hallucinated_references(text)


class PreTrainedTokenizerFast(Tokenizer):
    """Whatever a tokenizer.json says, with no special tokens but those that files or options name."""

    style = GENERIC


CLASSES: dict[str, type[Tokenizer]] = {
    name: value for name, value in list(globals().items()) if isinstance(value, type) and value.__module__ == __name__
}
"""Class names that configs may state, to the classes here."""
