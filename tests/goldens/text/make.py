"""Makes the small vocabularies beside this file. Run it where transformers 4.57.6 and sentencepiece are installed.

    python tests/goldens/text/make.py

- ``byte_level/``: vocab.json and merges.txt, RoBERTa's special tokens in front
- ``gpt2/``: the same merges, with ``<|endoftext|>`` behind
- ``wordpiece/``: vocab.txt
- ``characters/``: vocab.txt, one character a token, as Japanese BERT's
- ``unigram.model``: SentencePiece, unigram, with a small normaliser (nmt_nfkc would be 240 kB)
- ``bpe.model``: SentencePiece, BPE, with user-defined symbols and no normaliser
- ``barthez.model``, ``pegasus.model``, ``generation.model``, ``cls_sep.model``: SentencePiece, special pieces in the
  order of BARThez, Pegasus, BERT generation (BPE, bytes for what is unknown), and of RemBERT and BigBird
- ``marian/``: source.spm and target.spm, and a vocab.json in another order that both share
- ``blenderbot_small/``: vocab.json and merges.txt, with ``@@`` where a word goes on
- ``expected.json``: what transformers' classes, the fast ones where there are such, make of `lines`
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

TEXTS = [
    "The quick brown fox jumps over the lazy dog. It doesn't care, and we're not sure why it should!",
    "Invoice no. 2023-0417, total 1,284.50 EUR; due within 30 days (see the reverse side).",
    "Receipts, letters, ledgers and notes: handwritten lines are read one at a time, from left to right.",
    "Dear Sir, I have the honour to acknowledge the receipt of your letter of the 3rd of March.",
    "Größe, Übung und Straße: die Prüfung begann um 8:15 Uhr. Ça va? L'été, déjà vu, œuvre, naïve.",
    "El niño comió piñas mañana. Żółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Съешь ещё этих мягких французских булок, да выпей чаю. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "日本語の文章を読む。漢字とかなとカタカナ。中文的句子也在这里。한국어 문장도 있습니다.",
    "هذا نص عربي قصير. זהו משפט בעברית. यह हिन्दी का वाक्य है। ภาษาไทยไม่มีช่องว่าง",
    "def read(image): return model.generate(image)[0]  # 100% done? <yes> & {no} [maybe] ~ ^ | \\ / @ $",
]
ODD = [
    "",
    " ",
    "   ",
    "\n",
    "\t",
    "a",
    " a",
    "a ",
    "  two  spaces   three    four ",
    "tab\tnew\nline\r\nreturn\rform\x0cfeed\x0bvertical",
    "nul\x00bell\x07esc\x1bdel\x7fc1\x85end\x9f",
    "nb\u00a0sp thin\u2009sp ideo\u3000sp zero\u200bwidth join\u200der bom\ufeffmark line\u2028sep para\u2029graph",
    "emoji 😀 👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ ☺ end",
    "cafe\u0301 caf\u00e9 \u1e9b\u0323 \ufb01 \u2460 \uff21\uff11 \u33a5 \u212b \u00bd",
    "z\u0351\u0322alg\u0345o ΣΊΣΥΦΟΣ İstanbul ǅ ẞ",
    "don't can't I'm he's we've they're ' quoted ' it 's , ok . ? ! n't",
    "\ufffd replacement \U0010ffff last \ue000 private \ufdd0 non",
    "▁ lower ▁▁ block ▁word a▁b",
    "Ġ byte Ċ symbols âĢĻ Ã©",
    "##wp un##able [UNK] [MASK] [CLS]",
    "<s> text </s> <pad> <unk> <mask> <mask>x x<mask> <|endoftext|>",
    "a<s>b</s>c  <mask>  d <MASK> < s> <s > <s></s>",
    "<0x41> <0xE2> <extra_id_0> </s></s>",
    "new_tok and NEW_TOK new_token x<sep/>y <sep/> <s_menu>a</s_menu>  <s_menu>",
    "https://example.org/a?b=c&d=%20#e user.name+tag@mail.co.uk C:\\dir\\file.txt",
    "0123456789 3.14159 1e-10 ٣٤٥ ½ Ⅷ ²³",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "…“quotes” ‘single’ «guillemets» – — ― ‐ • · ¿ ¡ § ¶ † ‡ ° ™ © ®",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒎𝒂𝒕𝒉 𠀋 𓀀 𝄞",
]


def lines(count: int = 400) -> list[str]:
    """Some hundreds of lines of mixed scripts, controls, spaces and special tokens; the same at every call."""
    generator = random.Random(0)
    words = [word for text in TEXTS for word in text.split()]
    found = [*TEXTS, *ODD]
    glue = [" ", " ", " ", " ", "  ", "\n", "\t", "", "\u00a0", "\u3000", "\x01", "\u200b"]
    marks = [
        "<s>",
        "</s>",
        "<pad>",
        "<mask>",
        "<unk>",
        "[MASK]",
        "[SEP]",
        "<|endoftext|>",
        "new_tok",
        "<sep/>",
        "😀",
        "\r",
    ]
    while len(found) < count:
        parts = []
        for _ in range(generator.randint(1, 12)):
            kind = generator.random()
            if kind < 0.72:
                parts.append(generator.choice(words))
            elif kind < 0.84:
                parts.append(generator.choice(marks))
            elif kind < 0.94:
                parts.append("".join(generator.choice("aeiou nrst.,!?'-0123ÄßéЖ語") for _ in range(4)))
            else:
                parts.append(
                    "".join(chr(generator.choice([generator.randint(1, 0x2FF), generator.randint(0x300, 0xD7FF)])))
                )
            parts.append(generator.choice(glue))
        if len(found) >= 240:  # the odder ones behind those that other tests have always had
            kind = generator.random()
            if kind < 0.05:
                parts.insert(0, generator.choice([" ", "  ", "\t", "\n ", "\u3000"]) * generator.randint(1, 3))
            elif kind < 0.1:
                parts.append("".join(generator.choices("abcdefgh", k=generator.choice([99, 100, 101, 300]))))
            elif kind < 0.15:
                parts.append("\u200d".join(generator.choices("👩👨👧👦❤\ufe0f💻🏽", k=generator.randint(2, 4))))
            elif kind < 0.2:
                marks_of = [chr(generator.randint(0x300, 0x36F)) for _ in range(generator.randint(1, 5))]
                parts.append(generator.choice("aeioukgक가") + "".join(marks_of))
            elif kind < 0.3:
                parts.insert(generator.randint(0, len(parts)), generator.choice(marks) * generator.randint(1, 2))
        found.append("".join(parts))
    return found


def _byte_level() -> None:
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(TEXTS * 3, vocab_size=600, min_frequency=2, special_tokens=special, show_progress=False)
    (HERE / "byte_level").mkdir(exist_ok=True)
    trained.save_model(str(HERE / "byte_level"))
    vocab = trained.get_vocab(with_added_tokens=False)
    plain = [token for token in sorted(vocab, key=lambda token: vocab[token]) if token not in special]
    gpt2 = {token: index for index, token in enumerate([*plain, "<|endoftext|>"])}
    (HERE / "gpt2").mkdir(exist_ok=True)
    (HERE / "gpt2" / "vocab.json").write_text(json.dumps(gpt2, ensure_ascii=False), encoding="utf-8")
    shutil.copy(HERE / "byte_level" / "merges.txt", HERE / "gpt2" / "merges.txt")


def _wordpiece() -> None:
    from tokenizers import BertWordPieceTokenizer

    trained = BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator(TEXTS * 3, vocab_size=500, min_frequency=2, show_progress=False)
    (HERE / "wordpiece").mkdir(exist_ok=True)
    trained.save_model(str(HERE / "wordpiece"))


def _characters() -> None:
    found = sorted(set(unicodedata.normalize("NFKC", "".join([*TEXTS, *ODD[20:26]]))) - set(" \n\t\u3000"))
    (HERE / "characters").mkdir(exist_ok=True)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *found, "##a", "##読"]
    (HERE / "characters" / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")


def rules() -> str:
    """A normaliser: some hundred rules of NFKC, and spaces of other kinds made plain ones or taken out."""
    found = {}
    for start, end in ((0xA0, 0x100), (0xFB00, 0xFB07), (0xFF01, 0xFF5F), (0x2460, 0x2470), (0x2000, 0x200B)):
        for code in range(start, end):
            plain = unicodedata.normalize("NFKC", chr(code))
            if plain != chr(code):
                found[f"{code:X}"] = " ".join(f"{ord(letter):X}" for letter in plain)
    found.update({"65 301": "E9", "9": "20", "A": "20", "D": "20", "3000": "20", "200B": "", "FEFF": "", "7F": ""})
    return "".join(f"{source}\t{target}\n" for source, target in found.items())


def _sentencepiece() -> None:
    import sentencepiece

    # The trainer writes down every path that it is given, so it is given none but this one.
    shared: dict[str, Any] = {"num_threads": 1, "minloglevel": 2, "character_coverage": 0.98}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("rules.tsv").write_text(rules(), encoding="utf-8")
        for name, options in {
            "unigram": {"vocab_size": 300, "model_type": "unigram", "normalization_rule_tsv": "rules.tsv"},
            "bpe": {
                "vocab_size": 400,
                "model_type": "bpe",
                "normalization_rule_name": "identity",
                "user_defined_symbols": ["<sep/>", "<s_menu>"],
            },
        }.items():
            model = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(TEXTS * 5), model_writer=model, **shared, **options
            )
            (HERE / f"{name}.model").write_bytes(model.getvalue())


def _families() -> None:
    """Models of other kinds, whose special pieces stand elsewhere."""
    import sentencepiece

    plain = {"bos_id": -1, "eos_id": -1, "pad_id": -1}
    kinds: dict[str, dict[str, Any]] = {
        "barthez": {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3},
        "pegasus": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
        "generation": {
            "pad_id": 0,
            "eos_id": 1,
            "bos_id": 2,
            "unk_id": 3,
            "model_type": "bpe",
            "vocab_size": 560,
            "byte_fallback": True,
            "user_defined_symbols": ["<::::>", "new_tok"],
        },
        "cls_sep": {
            "pad_id": 0,
            "eos_id": 1,
            "bos_id": 2,
            "unk_id": 3,
            "control_symbols": ["[CLS]", "[SEP]"],
            "user_defined_symbols": ["[MASK]"],
        },
        "marian/source": {**plain, "eos_id": 0, "unk_id": 1},
        "marian/target": {**plain, "eos_id": 0, "unk_id": 1, "model_type": "bpe", "vocab_size": 400},
    }
    (HERE / "marian").mkdir(exist_ok=True)
    shared: dict[str, Any] = {"num_threads": 1, "minloglevel": 2, "character_coverage": 0.98, "vocab_size": 300}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("rules.tsv").write_text(rules(), encoding="utf-8")
        for name, options in kinds.items():
            model = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(TEXTS * 5),
                model_writer=model,
                **{**shared, "normalization_rule_tsv": "rules.tsv", **options},
            )
            suffix = ".spm" if name.startswith("marian") else ".model"
            (HERE / f"{name}{suffix}").write_bytes(model.getvalue())
    pieces = set()
    for name in ("source", "target"):
        read = sentencepiece.SentencePieceProcessor(model_file=str(HERE / f"marian/{name}.spm"))
        pieces |= {read.id_to_piece(index) for index in range(read.get_piece_size())}
    ordered = ["</s>", "<unk>", *sorted(pieces - {"</s>", "<unk>"})[::-1], ">>fra<<", ">>deu<<", "<pad>"]
    del ordered[50]  # a piece that the vocabulary lacks
    (HERE / "marian/vocab.json").write_text(
        json.dumps({token: index for index, token in enumerate(ordered)}, ensure_ascii=False), encoding="utf-8"
    )


def _blenderbot_small() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=500, min_frequency=2, end_of_word_suffix="</w>", show_progress=False)
    trained.train_from_iterator([text.lower() for text in TEXTS * 3], trainer)
    model = json.loads(trained.to_str())["model"]
    tokens = ["__null__", "__start__", "__end__", "__unk__", "__newln__"]
    for token in sorted(model["vocab"], key=model["vocab"].__getitem__):
        tokens.append(token[:-4] if token.endswith("</w>") else token + "@@")
        if len(token) == 1:
            tokens.append(token)
    tokens = list(dict.fromkeys(tokens))
    (HERE / "blenderbot_small").mkdir(exist_ok=True)
    (HERE / "blenderbot_small/vocab.json").write_text(
        json.dumps({token: index for index, token in enumerate(tokens)}, ensure_ascii=False), encoding="utf-8"
    )
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (HERE / "blenderbot_small/merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


def _expected() -> None:
    import transformers

    def opened(class_name: str, *sources: str, **options: Any) -> Any:
        theirs = getattr(transformers, class_name)
        with tempfile.TemporaryDirectory() as folder:
            for source in sources:
                name = theirs.vocab_files_names["vocab_file"] if source.endswith(".model") else Path(source).name
                shutil.copy(HERE / source, Path(folder, name))
            return theirs.from_pretrained(folder, **options)

    made = {
        "roberta": opened("RobertaTokenizerFast", "byte_level/vocab.json", "byte_level/merges.txt"),
        "gpt2": opened("GPT2TokenizerFast", "gpt2/vocab.json", "gpt2/merges.txt"),
        "xlm_roberta": opened("XLMRobertaTokenizerFast", "unigram.model"),
        "xlm_roberta_bpe": opened("XLMRobertaTokenizerFast", "bpe.model"),
        "bert": opened("BertTokenizerFast", "wordpiece/vocab.txt"),
        "mbart": opened("MBartTokenizerFast", "unigram.model"),
        "mbart50": opened("MBart50TokenizerFast", "unigram.model", src_lang="fr_XX"),
        "camembert": opened("CamembertTokenizerFast", "unigram.model"),
        "barthez": opened("BarthezTokenizerFast", "barthez.model"),
        "xglm": opened("XGLMTokenizerFast", "unigram.model"),
        "pegasus": opened("PegasusTokenizerFast", "pegasus.model"),
        "rembert": opened("RemBertTokenizerFast", "cls_sep.model"),
        "big_bird": opened("BigBirdTokenizerFast", "cls_sep.model"),
        "blenderbot": opened("BlenderbotTokenizerFast", "byte_level/vocab.json", "byte_level/merges.txt"),
        "bert_generation": opened("BertGenerationTokenizer", "generation.model"),
        "marian": opened("MarianTokenizer", "marian/vocab.json", "marian/source.spm", "marian/target.spm"),
        "blenderbot_small": opened(
            "BlenderbotSmallTokenizer", "blenderbot_small/vocab.json", "blenderbot_small/merges.txt"
        ),
        "bert_japanese": opened("BertJapaneseTokenizer", "characters/vocab.txt", subword_tokenizer_type="character"),
    }
    found = {
        name: [
            {"ids": (ids := theirs(text)["input_ids"]), "text": theirs.decode(ids, skip_special_tokens=True)}
            for text in lines(len(TEXTS) + len(ODD))
        ]
        for name, theirs in made.items()
    }
    (HERE / "expected.json").write_text(json.dumps(found, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _byte_level()
    _wordpiece()
    _characters()
    _sentencepiece()
    _families()
    _blenderbot_small()
    _expected()
