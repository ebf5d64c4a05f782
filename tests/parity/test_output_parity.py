"""What is done with models' texts, against transformers 4.57.6: equal on anything that a model may write."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import vision2seq
from vision2seq.processing.output import donut, latex, manga, nougat

transformers = pytest.importorskip("transformers")
nltk = pytest.importorskip("nltk")
levenshtein = pytest.importorskip("Levenshtein")
reference = pytest.importorskip("transformers.models.nougat.tokenization_nougat_fast")

# Their rules for texts need no vocabulary.
DONUT = transformers.DonutProcessor.__new__(transformers.DonutProcessor)
NOUGAT = transformers.NougatTokenizerFast.__new__(transformers.NougatTokenizerFast)
GOLDENS = Path(__file__).parents[1] / "goldens" / "nougat" / "pages.json"

ADDED = {"<paid/>", "<open/>", "<", "/>", "<sep/>", "<s_a>", "</>", "<a/>"}
TAGS = [
    "<s_a>",
    "</s_a>",
    "<s_b>",
    "</s_b>",
    "<s_a.b>",
    "</s_a.b>",
    "<S_A>",
    "</S_A>",
    "<s_A>",
    "</S_a>",
    "<sep/>",
    "<sep/>",
    "<paid/>",
    "<open/>",
    "x",
    " y ",
    "\n",
    "<s_",
    "</s_",
    ">",
    "<",
    ".",
    "<s_>",
    "</s_>",
    "é",
    "<a/>",
    "</>",
    "/>",
    "<s_a>1</s_a>",
    "<s_b>2<sep/>3</s_b>",
    "<s_a><s_b>q</s_b></s_a>",
    "<S_",
    "İ",
]
PIECES = [
    "# Title\n",
    "## 3 Method\n",
    "### iv.\n\n",
    "# " + "long heading " * 12 + "\n",
    "\n* [leftmargin=*]\n",
    "\n\n",
    "\n",
    "The quick brown fox. ",
    "jumps over",
    "* [12] A. Author. Title. 2020.\n",
    "* [1][]ABC\n",
    "* [3] A. B. C. D. E. F. G. H. I. J. K. L. M. rest\n",
    "* [4] A.B.C.D.E.F.G.H.I.J.K.\n",
    " _x_ ",
    " _a__b_ ",
    " _a__bc_.",
    "\nFootnote 1: footnotetext: text here\n\n",
    "\nFootnote 2: thanks: x",
    "[FOOTNOTE: a](b)[ENDFOOTNOTE]",
    "[FOOTNOTE:bla]inner[ENDFOOTNOTE]",
    "- item one - item two - i.v deep item\n",
    "* 1 first * 1.2 second * 1.2.3 third",
    "* a - b c - d e\n",
    "\\begin{table} \\begin{tabular}{l l} & \\\\ \\end{tabular} \\end{table} Tab",
    "\\begin{tabular}{l l}  & \\\\ \\end{tabular}",
    "\\begin{tabular}{}\n\n\\end{tabular}",
    "\\begin{tabular}{ccc} & & \\\\ \\end{tabular}",
    "\\begin{array}[]{cc}",
    "**S. A. B.**\n\n",
    "#\n",
    "## [\n",
    "### a\n",
    ".\n",
    ". \n",
    "(1.2a) \\[x=y\\]\n",
    "\\[x=y\\] (3)\n",
    "\\[x=y\\] (3) \\[z\\]\n",
    "\\. ",
    "\\bm{x}",
    "{\\\\bm x}",
    "\\mbox{\\boldmath$x$}",
    "http://a.b.com/x?y=1 ",
    "https://foo.org.",
    "ftp://x_y.z-w.de/~u",
    "``` algo line ```",
    "```x\ny```",
    "## References\n\n",
    "[MISSING_PAGE_POST]",
    "[MISSING_PAGE_EMPTY:3]\n",
    "[MISSING_PAGE_FAIL:1]\n",
    "A",
    "7",
    ",",
    "}",
    "Figure 3: cap",
    "Table",
    "word",
    "apple",
    "Ünïcödé İstanbul ",
    "x\n\n",
    "\n\ny",
    "&" * 401,
    "\\multicolumn " * 61 + "\n",
    "* [MISSING_PAGE",
    "\t",
    "- ",
    " * ",
]
WORDS = {"apple", "word", "fox", "over", "cap"}


@pytest.mark.parametrize("seed", range(5))
def test_fields_of_random_tags(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(3000):
        tokens = "".join(chance.choice(TAGS) for _ in range(chance.randint(0, 14)))
        inner = chance.random() < 0.3
        ours = donut.token2json(tokens, inner, ADDED)
        theirs = DONUT.token2json(tokens, is_inner_value=inner, added_vocab=ADDED)
        assert ours == theirs
        assert json.dumps(ours) == json.dumps(theirs)  # the order of the fields, too


def test_fields_of_documents_that_were_written_as_tags() -> None:
    chance = random.Random(0)

    def value(keys: list[str], depth: int) -> Any:
        kind = chance.random()
        if depth == 0 or kind < 0.4:
            return chance.choice(["", "paid", "open", "x y", "3.5"])
        if kind < 0.6:
            return [value(keys, 0) for _ in range(chance.randint(0, 3))]
        return {key: value([other for other in keys if other != key], depth - 1) for key in chance.sample(keys, 2)}

    for _ in range(2000):
        tokens = donut.json2token(value([f"k{number}" for number in range(8)], 3), added_vocab=ADDED)
        assert donut.token2json(tokens, added_vocab=ADDED) == DONUT.token2json(tokens, added_vocab=ADDED)


def reference_line(chance: random.Random, number: int) -> str:
    author = chance.choice(["A. B. Dee", "X. Why"]) if chance.random() < 0.15 else "A. B. Cee"
    return f"* [{number}] J. Smith, {author}, Phys. Rev. {chance.randint(1, 99)} ({chance.randint(1900, 2020)}).\n"


def page(chance: random.Random) -> str:
    parts: list[str] = []
    for _ in range(chance.randint(0, 10)):
        kind = chance.random()
        if kind < 0.75:
            parts.append(chance.choice(PIECES))
        elif kind < 0.85:
            parts.append(
                "".join(chance.choice("abc .\n") for _ in range(chance.randint(30, 60))) * chance.randint(2, 6)
            )
        elif kind < 0.95:
            parts.append("## References\n\n" if chance.random() < 0.5 else "")
            gap = chance.choice(["", "\n"])
            for number in range(chance.randint(3, 40)):
                parts.append(reference_line(chance, number) + (gap if chance.random() < 0.9 else "\n\n\n"))
        else:
            parts.append(f"The same sentence again and again, number {chance.randint(1, 9)}. " * chance.randint(2, 9))
    text = "".join(parts)
    return text[: chance.randint(0, len(text))] if chance.random() < 0.2 else text


@pytest.fixture(params=[None, WORDS], ids=["without words", "with words"])
def words(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """nltk's list of words: not downloaded, or a short one."""

    class Corpus:
        @staticmethod
        def words() -> list[str]:
            if request.param is None:
                raise LookupError("not downloaded")
            return sorted(request.param)

    monkeypatch.setattr(nltk.corpus, "words", Corpus)
    return request.param


@pytest.mark.parametrize("seed", range(4))
def test_random_pages(seed: int, words: Any) -> None:
    chance = random.Random(seed)
    missing = cut = 0
    for _ in range(150):
        text, fix = page(chance), chance.random() < 0.7
        theirs = NOUGAT.post_process_single(text, fix_markdown=fix)
        assert nougat.post_process_single(text, fix, words) == theirs
        missing += "[MISSING_PAGE_POST]" in theirs
        cut += nougat.truncate_repetitions(text) != text
    assert missing > 5
    assert cut > 5


@pytest.mark.parametrize(
    "rule", ["truncate_repetitions", "markdown_compatible", "normalize_list_like_lines"], ids=lambda rule: rule
)
def test_rules_by_themselves(rule: str) -> None:
    chance = random.Random(9)
    for _ in range(300):
        text = page(chance)
        assert getattr(nougat, rule)(text) == getattr(reference, rule)(text)


@pytest.mark.parametrize("rule", ["correct_tables", "remove_hallucinated_references"], ids=lambda rule: rule)
def test_methods_by_themselves(rule: str) -> None:
    chance = random.Random(10)
    for _ in range(300):
        text = page(chance)
        assert getattr(nougat, rule)(text) == getattr(NOUGAT, rule)(text)


def test_goldens_are_what_the_reference_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    for known in json.loads(GOLDENS.read_text(encoding="utf-8")):
        assert NOUGAT.post_process_single(known["page"]) == known["markdown"]
        assert NOUGAT.post_process_single(known["page"], fix_markdown=False) == known["raw"]


def test_similarity_to_the_last_bit() -> None:
    chance = random.Random(2)
    for _ in range(5000):
        letters = "ab" if chance.random() < 0.3 else "abcdefghij é"
        one = "".join(chance.choice(letters) for _ in range(chance.randint(0, 80)))
        other = list(one)
        for _ in range(chance.randint(0, 9)):
            place = chance.randint(0, len(other))
            other[place : place + chance.randint(0, 2)] = chance.choice(letters)
        assert nougat.similarity(one, "".join(other)) == levenshtein.ratio(one, "".join(other))


@pytest.mark.parametrize("name", ["DonutProcessor", "NougatProcessor", "TrOCRProcessor"])
def test_processors_pair_and_are_found_alike(name: str, tmp_path: Path) -> None:
    """What ours saves, theirs takes for the same class, and gives the same ids beside the same pixels."""
    tiny.write_tokenizer(tmp_path / "a")
    kind = "ViT" if name == "TrOCRProcessor" else name.removesuffix("Processor")
    about = {"image_processor_type": f"{kind}ImageProcessor", "size": {"height": 16, "width": 24}}
    (tmp_path / "a" / "preprocessor_config.json").write_text(json.dumps(about), encoding="utf-8")
    getattr(vision2seq, name).from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    ours = vision2seq.AutoProcessor.from_pretrained(tmp_path / "b")
    theirs = transformers.AutoProcessor.from_pretrained(tmp_path / "b", use_fast=False)
    assert type(ours).__name__ == type(theirs).__name__ == name
    assert set(ours.model_input_names) == set(theirs.model_input_names)
    image = tiny.picture()
    for call in (
        {"images": image},
        {"text": "ab cd"},
        {"text": ["ab", "cde"], "padding": True},
        {"images": image, "text": "ab"},
        {"images": image, "text": "ab", "add_special_tokens": True},
        {"images": [image, image], "text": ["ab", "c"], "padding": "max_length", "max_length": 6},
    ):
        found, expected = ours(**call, return_tensors="np"), theirs(**call, return_tensors="np")
        if "pixel_values" in expected:
            assert np.array_equal(found["pixel_values"], expected["pixel_values"])
        keys = {"pixel_values", "input_ids", "labels"}
        assert set(found) & keys == set(expected) & keys
        for key in set(expected) & {"input_ids", "labels"}:
            assert np.asarray(found[key]).tolist() == np.asarray(expected[key]).tolist()


def test_full_width_characters() -> None:
    jaconv = pytest.importorskip("jaconv")
    chance = random.Random(3)
    signs = [*range(32, 127), *range(0xFF61, 0xFFA0), *range(0x3040, 0x3100), 0x2026]
    for _ in range(5000):
        text = "".join(map(chr, chance.choices(signs, k=chance.randint(0, 12))))
        assert manga.full_width(text) == jaconv.h2z(text, ascii=True, digit=True)


def test_plain_characters() -> None:
    """But for the search for wrong encodings, and for HTML's names of characters."""
    ftfy = pytest.importorskip("ftfy")
    off = "unescape_html fix_encoding restore_byte_a0 replace_lossy_sequences decode_inconsistent_utf8 fix_c1_controls"
    config = ftfy.TextFixerConfig(**dict.fromkeys(off.split(), False))
    chance = random.Random(4)
    signs = [*range(127), *range(0xA0, 0x250), *range(0x300, 0x370), *range(0x2000, 0x2070), *range(0xFB00, 0xFB07)]
    signs += [*range(0xFF00, 0xFFF0), 0x3000, 0xFEFF, 0x85, 0x2028]
    for _ in range(5000):
        text = "".join(map(chr, chance.choices(signs, k=chance.randint(0, 12))))
        assert latex.plain_characters(text) == ftfy.fix_text(text, config)
    for text in ("\\frac{a}{b} “x” ﬁ", "E = mc^2 ‘q’ … é", "$$a&b$$ \\alpha ~ \xa0 x"):
        assert latex.plain_characters(text) == ftfy.fix_text(text)
