"""Constraints: whatever the model, the vocabulary and the way of generating, texts are valid, or an error says why."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from tokenizers import AddedToken

from vision2seq.errors import OptionError, UnsupportedError
from vision2seq.generation import Choices, Pattern, Schema, iterate
from vision2seq.generation.constraints.regex import Regex
from vision2seq.generation.constraints.wrappers import CLEANED, SIGNS, Bytewise, CleanedUp
from vision2seq.processing.output.donut import token2json
from vision2seq.processing.text.cleanup import clean_up
from vision2seq.processing.text.load import (
    BertJapaneseTokenizer,
    BertTokenizer,
    GPT2Tokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)
from vision2seq.processing.text.pieces import probe_pieces
from vision2seq.processing.text.tokenizer import Tokenizer

torch.set_num_threads(1)

GOLDENS = Path(__file__).parents[1] / "goldens/text"
LONGEST = 48


def _make(name: str) -> Tokenizer:
    if name == "roberta":
        return RobertaTokenizer(GOLDENS / "byte_level/vocab.json", GOLDENS / "byte_level/merges.txt")
    if name == "gpt2":
        return GPT2Tokenizer(GOLDENS / "gpt2/vocab.json", GOLDENS / "gpt2/merges.txt")
    if name == "bert":
        return BertTokenizer(GOLDENS / "wordpiece/vocab.txt")
    if name == "japanese":
        return BertJapaneseTokenizer(GOLDENS / "characters/vocab.txt", subword_tokenizer_type="character")
    return XLMRobertaTokenizer(GOLDENS / f"{name}.model")


TOKENIZERS = {name: _make(name) for name in ("roberta", "gpt2", "bert", "japanese", "unigram", "bpe")}
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampling": {"do_sample": True, "num_return_sequences": 2, "temperature": 2.0},
    "beams": {"num_beams": 3, "num_return_sequences": 1},
    "sampled-beams": {"num_beams": 3, "do_sample": True},
    "others": {"no_repeat_ngram_size": 1, "repetition_penalty": 3.0, "min_new_tokens": 9, "top_k": 3},
    "loops": {"stop_on_repetition": True},
}


def model(decoder: str, tokenizer: Tokenizer, seed: int = 0, **top: Any) -> Any:
    end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    begin = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    length = {"gpt2": "n_positions"}.get(decoder, "max_position_embeddings")
    more = {"vocab_size": len(tokenizer), length: LONGEST + 4 * (decoder == "roberta")}
    if decoder not in ("trocr", "trocr-sinusoidal"):
        more |= {"pad_token_id": None, "eos_token_id": None, "bos_token_id": None}
    if decoder == "roberta":
        more["pad_token_id"] = 1
    ids = {"decoder_start_token_id": begin, "eos_token_id": end, "pad_token_id": tokenizer.pad_token_id, **top}
    return tiny.model(decoder, seed=seed, more=more, **ids)


def texts(built: Any, tokenizer: Tokenizer, count: int = 3, skip: bool = True, **options: Any) -> list[str]:
    """Generate for some images; every text has to end by itself."""
    torch.manual_seed(0)
    prompt = options.get("decoder_input_ids")
    start = 1 if prompt is None else prompt.shape[1]
    output = built.generate(tiny.pixels(count), tokenizer=tokenizer, return_dict_in_generate=True, **options)
    assert set(output.finish_reasons) == {"eos"}
    return [
        tokenizer.decode(row[start : start + len(logprobs)], skip_special_tokens=skip)
        for row, logprobs in zip(output.sequences.tolist(), output.token_logprobs, strict=True)
    ]


# ---------------------------------------------------------------------------------------------------------- guarantee


PATTERNS = {
    "digits": r"\d+[., ]+\d\d",
    "words": r"[A-Za-z ]{3,12}",
    "choice": r"(yes|no|maybe)(, (yes|no))*",
    "clean": r"it's ok\. ?",
    "any": r".*",
    "accents": r"[é日本ß ]{2,4}",
    "long": r"(ab ?){12,}c",
}
IMPOSSIBLE = {  # spaces stand between the tokens of these, or they lack the letters
    ("japanese", "choice"),
    ("japanese", "words"),
    ("japanese", "clean"),
    ("japanese", "long"),
    ("japanese", "digits"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_text_matches_the_pattern(name: str, pattern: str, way: str) -> None:
    tokenizer = TOKENIZERS[name]
    decoders = ("trocr", "gpt2", "mbart", "bert")
    decoder = decoders[(list(TOKENIZERS).index(name) + list(WAYS).index(way)) % 4]
    built = model(decoder, tokenizer, seed=3)
    constraint = Pattern(PATTERNS[pattern])
    machine: Any = None
    try:
        machine = constraint.machine(tokenizer, len(tokenizer))
    except OptionError as error:
        assert re.search("No text of this vocabulary", str(error))
        assert (name, pattern) in IMPOSSIBLE
        return
    least = int(machine.distance(machine.start)) + 1
    for length in {max(least + 1, 2), min(least + 9, LONGEST), LONGEST}:
        if length <= least:
            continue
        for text in texts(built, tokenizer, constraint=constraint, max_length=length, **WAYS[way]):
            assert re.fullmatch(PATTERNS[pattern], text), text
    if 1 < least < LONGEST:
        with pytest.raises(OptionError, match=f"has at least {least} tokens.* leaves {least - 1}"):
            texts(built, tokenizer, constraint=constraint, max_length=least, **WAYS[way])


def test_the_impossible_ones_are_few() -> None:
    assert {name for name, _ in IMPOSSIBLE} == {"japanese"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_text_is_one_of_the_choices(name: str, way: str) -> None:
    tokenizer = TOKENIZERS[name]
    answers = ["日本", "本", "N b"] if name == "japanese" else ["Invoice", "invoice no", "Receipt 3.14", "note"]
    if name == "bert":  # which has no capitals
        answers.remove("invoice no")
    built = model("trocr", tokenizer, seed=5)
    constraint = Choices(answers)
    found = texts(built, tokenizer, count=5, constraint=constraint, max_length=20, **WAYS[way])
    assert {constraint.answer(text, tokenizer) for text in found} <= set(answers)
    for text in found:
        exact = name in ("roberta", "gpt2", "unigram", "bpe")
        assert text.strip() in answers if exact else text.strip() not in ("", "N b"), text


def test_each_choice_can_be_reached() -> None:
    tokenizer = TOKENIZERS["roberta"]
    answers = ["in", "invoice", "invoices", "due"]
    found: set[str] = set()
    for seed in range(12):
        built = model("trocr", tokenizer, seed=seed)
        found |= {t.strip() for t in texts(built, tokenizer, 6, constraint=Choices(answers), do_sample=True)}
    assert found == set(answers)


def test_what_the_model_prefers_among_the_valid_is_taken() -> None:
    """A constraint that allows what the model writes anyway changes nothing, probabilities included."""
    tokenizer = TOKENIZERS["unigram"]
    built = model("trocr", tokenizer, seed=1)
    options = {"suppress_tokens": tokenizer.all_special_ids, "return_dict_in_generate": True}
    free = built.generate(tiny.pixels(3), max_length=9, **options)
    written = [tokenizer.decode(row[1:]) for row in free.sequences.tolist()]
    either = Pattern("|".join(map(re.escape, written)))
    bound = built.generate(tiny.pixels(3), constraint=either, tokenizer=tokenizer, **options)
    assert [row[:9] for row in bound.sequences.tolist()] == free.sequences.tolist()
    for one, other in zip(free.token_logprobs, bound.token_logprobs, strict=True):
        assert one == pytest.approx(other[:8], abs=1e-4)


def test_confidence_is_of_the_plain_softmax() -> None:
    tokenizer = TOKENIZERS["roberta"]
    built = model("trocr", tokenizer)
    output = built.generate(
        tiny.pixels(1),
        constraint=Choices(["due"]),
        tokenizer=tokenizer,
        return_dict_in_generate=True,
        output_logits=True,
    )
    for step, (logits, logprob) in enumerate(zip(output.logits, output.token_logprobs[0], strict=True), start=1):
        assert logprob == pytest.approx(float(logits.log_softmax(-1)[0, output.sequences[0, step]]), abs=1e-5)
        assert logprob < -0.1  # no other token was allowed, and still it is no certainty


def test_a_text_may_go_in_circles_only_where_it_has_to() -> None:
    tokenizer = TOKENIZERS["roberta"]
    built = model("trocr", tokenizer, seed=2)
    (text,) = texts(built, tokenizer, 1, constraint=Pattern("(a{4}|b)*c"), stop_on_repetition=True)
    assert text.endswith("c")
    (text,) = texts(built, tokenizer, 1, constraint=Pattern("(ab){20}"), stop_on_repetition=True)
    assert text == "ab" * 20


def test_forced_and_leading_tokens_say_nothing() -> None:
    tokenizer = TOKENIZERS["roberta"]
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    built = model("trocr", tokenizer, decoder_start_token_id=end)
    constraint = Choices(["due", "note"])
    built.generation_config.forced_bos_token_id = begin
    rows = built.generate(tiny.pixels(2), constraint=constraint, tokenizer=tokenizer).tolist()
    assert {row[1] for row in rows} == {begin}
    assert {tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows} <= {"due", "note"}
    with pytest.raises(OptionError, match="has at least .* tokens"):
        built.generate(tiny.pixels(1), constraint=Pattern("[a-z]{2}"), tokenizer=tokenizer, max_new_tokens=2)
    built.generation_config.forced_bos_token_id = None
    row = built.generate(
        tiny.pixels(1), constraint=constraint, tokenizer=tokenizer, sequence_bias={(begin,): 99.0, (end,): 98.0}
    )[0].tolist()
    assert row[1] == begin and row.count(begin) == 1  # let through once, though the model would write nothing else


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_reads_as_its_images_alone(beams: int) -> None:
    tokenizer = TOKENIZERS["unigram"]
    built = model("mbart", tokenizer, seed=4)
    constraint = Pattern(r"[a-z]{1,9}( \d+)?")
    many = texts(built, tokenizer, 5, constraint=constraint, num_beams=beams)
    for place, text in enumerate(many):
        ids = built.generate(
            tiny.pixels(5)[place : place + 1], constraint=constraint, tokenizer=tokenizer, num_beams=beams
        )
        assert tokenizer.decode(ids[0][1:], skip_special_tokens=True) == text


def test_steps_are_constrained_as_well() -> None:
    tokenizer = TOKENIZERS["gpt2"]
    built = model("gpt2", tokenizer)
    session, arguments = built.start(tiny.pixels(1))
    steps = list(iterate(session, **arguments, tokenizer=tokenizer, constraint=Pattern(r"\d\d")))
    assert re.fullmatch(r"\d\d", tokenizer.decode([int(step.tokens[0]) for step in steps], skip_special_tokens=True))


# ------------------------------------------------------------------------------------------------------------- regex


EXPRESSIONS = [
    r"\d{4}-\d\d",
    r"(?i)straße|K+",
    r"^a$|^b$|\Ac\Z",
    r"[^\W\d]+?x{0,3}",
    r"(a|b)*abb",
    r"",
    r"a{2,}|b{,2}",
    r"(?s:.)*",
    r".*",
    r"[^a-z]",
    r"(?x) a b  # nothing else",
    r"(?a:\w)\s[\s\-]?",
    r"(?P<one>ab|)(?:b(?-i:A))?",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_matches_is_what_python_says(expression: str) -> None:
    regex, draw = Regex(expression), random.Random(0)
    whole = ["2024-01", "STRASSE", "straße", "abb", "aabb", "aaa", "a", "b", "c", "ab", "é -"]
    found = 0
    for _ in range(2000):
        text = "".join(draw.choices("aābBxkKK12-٣ß straSßTE\n", k=draw.randint(0, 5)))
        text = draw.choice(whole) if draw.random() < 0.3 else text
        assert _accepts(regex, text) == bool(re.fullmatch(expression, text)), text
        found += bool(re.fullmatch(expression, text))
    assert found > 10


def _accepts(automaton: Any, text: str) -> bool:
    state = automaton.start
    for symbol in automaton.alphabet.classes(np.array([*map(ord, text)], dtype=np.uint32)).tolist():
        state = automaton.step(state, symbol)
        if state is None:
            return False
    return automaton.accepts(state)


def test_bytes_are_read_as_their_characters() -> None:
    expression = r"(?:[^\d日]|[\U0001f600-\U0001f64f]){1,3}"
    automaton, draw = Bytewise(Regex(expression)), random.Random(1)
    signs = "aé日本٣\u07ff\u0800\ud7ff\ue000\uffff\U00010000😀🙏\U0010ffff1"
    for _ in range(1000):
        text = "".join(draw.choices(signs, k=draw.randint(0, 3)))
        state: Any = automaton.start
        for byte in text.encode():
            state = None if state is None else automaton.step(state, 0x10000 + byte)
        assert (state is not None and automaton.accepts(state)) == bool(re.fullmatch(expression, text))
    for wrong in (b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xc3a", b"\xff"):
        state = automaton.start
        for byte in wrong:
            state = None if state is None else automaton.step(state, 0x10000 + byte)
        assert state is None, wrong
    state = automaton.start
    for byte in b"\xf0\x9f":
        state = automaton.step(state, 0x10000 + byte)
    assert not automaton.accepts(state)


def test_clean_up_is_followed_character_by_character() -> None:
    draw = random.Random(2)
    pieces = [*CLEANED, " ", "a", "'", "n", "  .", " ' '", "' s"]
    for _ in range(1500):
        text = "".join(draw.choices(pieces, k=draw.randint(0, 6)))
        wanted = clean_up(text)
        assert _accepts(CleanedUp(Regex(re.escape(wanted), SIGNS)), text)
        assert not _accepts(CleanedUp(Regex(re.escape(wanted) + "x", SIGNS)), text)
        other = wanted.replace("'", " '", 1)
        assert _accepts(CleanedUp(Regex(re.escape(other), SIGNS)), text) == (other == wanted)


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        (r"a(?=b)", r"lookaround, such as \(\?=…\)"),
        (r"a(?!b)", "lookaround"),
        (r"(?<=a)b", "lookaround"),
        (r"(a)\1", r"backreferences, such as \\1"),
        (r"(a)?b(?(1)c|d)", "conditions on groups"),
        (r"\bword", "word boundaries"),
        (r"a^b", "anchors inside"),
        (r"(a$)b", "anchors inside"),
    ],
)
def test_what_is_not_understood_is_named(expression: str, what: str) -> None:
    with pytest.raises(UnsupportedError, match=f"uses {what}.*cannot steer a generation.*write out what"):
        Pattern(expression)


def test_patterns_that_are_none() -> None:
    with pytest.raises(OptionError, match=r"The pattern '\(a' is no regular expression: missing \)"):
        Pattern("(a")
    with pytest.raises(OptionError, match="expected a str: readings are text"):
        Pattern(re.compile(b"a"))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="more than 20000 places once its counted repetitions"):
        Pattern("((a{99}){99}){99}")


# ----------------------------------------------------------------------------------------------------------- messages


def test_what_cannot_be_written() -> None:
    bert = TOKENIZERS["bert"]
    with pytest.raises(OptionError, match=r"The answer '☃x' cannot be written with this vocabulary, which lacks '☃'"):
        Choices(["a", "☃x"]).machine(bert, len(bert))
    with pytest.raises(OptionError, match=r"No text of this vocabulary, which lacks '☃', matches the pattern 'a☃'"):
        Pattern("a☃").machine(bert, len(bert))
    with pytest.raises(OptionError, match="The answers 'Note' and 'note' are the same to this tokenizer: 'note'"):
        Choices(["Note", "note"]).machine(bert, len(bert))
    with pytest.raises(OptionError, match="needs the token .* but the model's tokens end at 9"):
        Choices(["note"]).machine(bert, 10)
    assert Choices(["3.14 Note"]).answer("3. 14 note", bert) == "3.14 Note"


def test_choices_that_are_none() -> None:
    for wrong in ([], ["a", " "], ["a", 3]):
        with pytest.raises(OptionError, match="choices are texts to choose from, at least one"):
            Choices(wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"choices is the text 'yes', expected a list of texts: \['yes'\]"):
        Choices("yes")


def test_calls_that_contradict_a_constraint() -> None:
    tokenizer = TOKENIZERS["roberta"]
    built = model("trocr", tokenizer)
    pixels, yes = tiny.pixels(1), Choices(["due"])
    with pytest.raises(OptionError, match="constraint is a str, expected one of vision2seq.generation"):
        built.generate(pixels, constraint="due", tokenizer=tokenizer)
    with pytest.raises(OptionError, match="A constraint needs the tokenizer"):
        built.generate(pixels, constraint=yes)
    with pytest.raises(OptionError, match="Both constraint and prefix_allowed_tokens_fn"):
        built.generate(pixels, constraint=yes, tokenizer=tokenizer, prefix_allowed_tokens_fn=lambda *_: [2])
    built.generation_config.eos_token_id = built.config.eos_token_id = built.config.decoder.eos_token_id = None
    with pytest.raises(OptionError, match="ends a text with the end token, but there is none"):
        built.generate(pixels, constraint=yes, tokenizer=tokenizer)
    with pytest.raises(OptionError, match="The tokenizer is a _Foreign, which does not tell what each token says"):
        Pattern("a").machine(_Foreign(), 10)


class _Foreign:
    def __len__(self) -> int:
        return 3


def test_more_texts_than_there_are() -> None:
    tokenizer = TOKENIZERS["roberta"]
    built = model("trocr", tokenizer)
    ways = {"num_beams": 9, "num_return_sequences": 9, "constraint": Choices(["due"]), "tokenizer": tokenizer}
    with pytest.raises(OptionError, match="9 texts an image were asked for, but the search found fewer"):
        built.generate(tiny.pixels(2), **ways)
    assert len(built.generate(tiny.pixels(2), **{**ways, "num_return_sequences": 1})) == 2


# ------------------------------------------------------------------------------------------------------------- schema


KEYS = ("menu", "nm", "price", "cnt", "total", "total_price", "kind", "answer", "question")


@pytest.fixture(scope="module", params=["unigram", "roberta"])
def donut(request: pytest.FixtureRequest) -> Tokenizer:
    tokenizer = _make(request.param)
    tags = [tag for key in KEYS for tag in (f"<s_{key}>", f"</s_{key}>")]
    tags += ["<sep/>", "<s_docvqa>", "<invoice/>", "<letter/>"]
    tokenizer.add_special_tokens({"additional_special_tokens": tags})
    return tokenizer


def _fits(value: Any, schema: Any) -> bool:
    """Whether what `token2json` gives is what a schema describes; a list of one is a value by itself there."""
    if isinstance(schema, dict):
        needed = {key for key in schema if not key.endswith("?")}
        inner = {key.removesuffix("?"): each for key, each in schema.items()}
        return (
            isinstance(value, dict)
            and needed <= set(value) <= set(inner)
            and all(_fits(each, inner[key]) for key, each in value.items())
        )
    if isinstance(schema, list) and len(schema) == 1:
        return all(_fits(each, schema[0]) for each in (value if isinstance(value, list) else [value]))
    if isinstance(schema, (list, tuple)):
        return value in schema
    if schema in (str, "str"):
        return isinstance(value, str) or value == []
    return isinstance(value, str) and bool(re.fullmatch(schema, value))


SCHEMAS: dict[str, Any] = {
    "receipt": {"menu": [{"nm": str, "price": r"\d+[.,]\d\d", "cnt?": r"\d"}], "total": {"total_price": str}},
    "kind": {"kind": ["invoice", "letter", "due"], "nm?": "(?i)ab+"},
    "items": [{"nm": str, "cnt": ("1", "2")}],
    "texts": {"nm": [str], "cnt?": {"price": str}},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_text_is_a_tree_of_the_schema(donut: Tokenizer, name: str, way: str) -> None:
    schema, constraint = SCHEMAS[name], Schema(SCHEMAS[name])
    machine: Any = constraint.machine(donut, len(donut))
    least = int(machine.distance(machine.start)) + 1
    for seed in (0, 1):
        built = model("mbart", donut, seed=seed)
        for length in (least + 1, LONGEST):
            options = {**WAYS[way], "max_length": length, "constraint": constraint}
            for text in texts(built, donut, skip=False, **options):
                tree = text.removeprefix("<s>").removesuffix("</s>")
                read = token2json(tree, added_vocab=donut.get_added_vocab())
                assert _fits(read, schema), (tree, read)
        with pytest.raises(OptionError, match=f"has at least {least} tokens"):
            texts(built, donut, max_length=least, constraint=constraint, **WAYS[way])


def test_what_the_prompt_opens_is_closed(donut: Tokenizer) -> None:
    built = model("mbart", donut, seed=3)
    prompt = donut.encode("<s_docvqa><s_question>due", add_special_tokens=False)
    prompt += donut.convert_tokens_to_ids(["</s_question>", "<s_answer>"])
    given = torch.tensor([prompt] * 2)
    given = torch.cat([torch.full((2, 1), donut.bos_token_id), given], 1)[:, 1:]
    for constraint in (
        Choices(["note", "due"]),
        Pattern("note|due"),
        Schema({"question": str, "answer": ("note", "due")}),
        Schema({"answer": ("note", "due")}),
    ):
        options = {"decoder_input_ids": given, "constraint": constraint, "bos_token_id": None}
        built.generation_config.decoder_start_token_id = given[0, 0].item()
        for text in texts(built, donut, 2, skip=False, **options):
            assert re.fullmatch(r" ?(note|due)</s_answer></s>", text), text


def test_schemas_without_meaning(donut: Tokenizer) -> None:
    for wrong in ("str", [], {}, str):
        with pytest.raises(OptionError, match="A schema is a dict of keys, or a list of one such dict"):
            Schema(wrong)
    with pytest.raises(OptionError, match="The schema has 3 at menu.nm. Expected str, an expression"):
        Schema({"menu": [{"nm": 3}]})
    with pytest.raises(OptionError, match="has the key 'nm' within itself, at nm.price"):
        Schema({"nm": {"price": {"nm": str}}})
    with pytest.raises(OptionError, match="has the key 'a b' at its top, expected a name"):
        Schema({"a b": str})
    with pytest.raises(OptionError, match="has the key 'nm' twice at its top, once as optional"):
        Schema({"nm": str, "nm?": str})
    with pytest.raises(OptionError, match="has an answer with '<' at nm"):
        Schema({"nm": ("a", "<b")})
    with pytest.raises(OptionError, match="Expected str, an expression"):
        Schema({"nm": [[str]]})
    with pytest.raises(OptionError, match="needs the token <s_colour>, .* Its keys are: answer, cnt, docvqa, kind"):
        Schema({"colour": str}).machine(donut, len(donut))
    with pytest.raises(UnsupportedError, match="lookaround"):
        Schema({"nm": "a(?=b)"})


def test_a_leaf_that_cannot_be_written() -> None:
    tokenizer = _make("unigram")
    tokenizer.add_tokens([AddedToken("<s_nm>"), AddedToken("</s_nm>")])
    with pytest.raises(OptionError, match="No text of this vocabulary matches '☃' of the schema"):
        Schema({"nm": "☃"}).machine(tokenizer, len(tokenizer))


# ------------------------------------------------------------------------------------------------------------- pieces


@pytest.mark.parametrize("name", TOKENIZERS)
def test_pieces_are_what_decoding_adds(name: str) -> None:
    tokenizer, draw = TOKENIZERS[name], random.Random(0)
    pieces = tokenizer.pieces()
    first, later = _by_id(pieces.first), _by_id(pieces.later)
    assert set(first) == set(later) and len(later) > 0.8 * tokenizer.vocab_size
    assert not set(later) & set(tokenizer.all_special_ids)
    for _ in range(500):
        ids = draw.choices(sorted(later), k=draw.randint(1, 8))
        spelled = first[ids[0]] + b"".join(later[index] for index in ids[1:])
        decoded = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        assert spelled.decode(errors="replace") == decoded
    assert tokenizer.pieces() is pieces
    tokenizer.clean_up_tokenization_spaces, before = True, tokenizer.clean_up_tokenization_spaces
    assert tokenizer.pieces().cleaned
    tokenizer.clean_up_tokenization_spaces = before


def test_tokens_that_depend_on_others() -> None:
    join = lambda tokens: " ".join(tokens).replace("@@ ", "")  # noqa: E731
    pieces = probe_pieces({0: "un", 1: "able@@", 2: "to"}, join, False)
    assert _by_id(pieces.first) == {0: b"un", 2: b"to"} and _by_id(pieces.later) == {0: b" un", 2: b" to"}
    backwards = lambda tokens: " ".join(tokens) if len(tokens) < 4 else "x"  # noqa: E731
    with pytest.raises(UnsupportedError, match="depends on their neighbours, .* a pattern cannot"):
        probe_pieces({0: "un", 2: "to"}, backwards, False)


def _by_id(spelling: Any) -> dict[int, bytes]:
    found = dict(spelling.ragged)
    for place, index in enumerate(spelling.ids.tolist()):
        found[index] = "".join(map(chr, spelling.codepoints[slice(*spelling.offsets[place : place + 2])])).encode()
    return found


def test_a_decoder_that_looks_ahead_has_no_pieces() -> None:
    import tokenizers

    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a</w>": 0, "b": 1}, merges=[]))
    backend.decoder = tokenizers.decoders.BPEDecoder()
    odd = PreTrainedTokenizerFast(tokenizer_object=backend)
    with pytest.raises(UnsupportedError, match="The tokenizer's decoder 'BPEDecoder' lets later tokens change"):
        odd.pieces()


def test_byte_tokens_of_sentencepiece() -> None:
    import tokenizers

    vocabulary = {"<unk>": 0, "</s>": 1, "▁": 2, "▁a": 3, "b": 4, **{f"<0x{b:02X}>": 5 + b for b in range(256)}}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    d = tokenizers.decoders
    backend.decoder = d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", bos_token="</s>")
    built = model("trocr", tokenizer, pad_token_id=1)
    for way in WAYS.values():
        for text in texts(built, tokenizer, constraint=Pattern("a é日?b+😀"), max_length=24, **way):
            assert re.fullmatch("a é日?b+😀", text)


def test_a_schema_of_a_file_is_one_of_python() -> None:
    schema = {"menu": [{"nm": "str", "price": "\\d+"}], "kind": ["a", "b"]}
    assert json.loads(json.dumps(schema)) == schema
    Schema(json.loads(json.dumps(schema)))
