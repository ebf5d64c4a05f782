"""LaTeX of formula readers, put in order."""

from __future__ import annotations

import pytest

from vision2seq.processing.output.latex import (
    break_lines,
    mixtex,
    plain_characters,
    remove_spaces,
    remove_style,
    texify,
    texteller,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\frac { a } { b }", r"\frac{a}{b}"),
        (r"x ^ { 2 } + y _ 1", "x^{2}+y_1"),
        (r"\alpha x", r"\alpha x"),  # of letters alone, a space is the end of a command
        (r"\alpha  \beta", r"\alpha\beta"),
        (r"\operatorname { s i n } x", r"\operatorname{sin}x"),
        (r"\operatorname* { a r g } x", r"\operatorname*{arg}x"),
        (r"\mathrm { d x }", r"\mathrm{dx}"),
        (r"\text { a b }", r"\text{ab}"),
        (r"a \ b", r"a\ b"),
        ("", ""),
        (" x ", " x "),
    ],
)
def test_needless_spaces(text: str, expected: str) -> None:
    assert remove_spaces(text) == expected
    assert remove_spaces(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\mathbf{x}+1", "x +1"),
        (r"\bm{a_{1}}b", "a_{1} b"),
        (r"\textbf{\textit{x}}", "x"),
        (r"\bm{a \bm{b} c}", "a  b  c"),
        (r"\mathbf{a\}b}c", r"a\}b c"),
        (r"\mathbf{a", "a"),  # never closed
        (r"a \bmod{n}", r"a \bmod{n}"),
        (r"\mathrm{x}", r"\mathrm{x}"),
    ],
)
def test_bold_and_italic_are_taken_off(text: str, expected: str) -> None:
    assert remove_style(text) == expected


def test_lines_are_broken_round_environments_and_after_double_backslashes() -> None:
    text = r"\begin{array}{cc} a & b \\ c & d \end{array} = x"
    assert break_lines(text).split("\n") == [r"\begin{array}", r"{cc} a & b \\", r"c & d", r"\end{array}", "= x"]
    assert break_lines(break_lines(text)) == break_lines(text)


def test_texteller() -> None:
    assert texteller(r"\begin{aligned} \mathbf{x} \\ y \end{aligned}").split("\n") == [
        r"\begin{aligned}",
        r"x  \\",
        "y",
        r"\end{aligned}",
    ]


def test_texify_without_labels_and_with_plain_characters() -> None:
    assert texify(r"see \ref{eq:1} $$x \label{eq:1}$$ “ﬁne” \pageref{p}") == 'see  $$x $$ "fine" '


def test_mixtex() -> None:
    assert mixtex(r"\[x\] 5% \(y\)") == r"\begin{align*}x\end{align*} 5\% \(y\)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("‘a’ ‛b` “c” „d‟", '\'a\' \'b` "c" "d"'),
        ("ﬀ ﬃ ﬆ ĳ ŉ", "ff ffi st ij 'n"),
        ("ＡＢ１ ｶ\u3000x", "AB1 カ x"),
        ("a\r\nb\rc\u2028d\u2029e\x85f", "a\nb\nc\nd\ne\nf"),
        ("a\x00\x1fb\ufeff\x7f\tc", "ab\tc"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("e\u0301", "é"),
        ("\\frac{1}{2} é 語 &amp;", "\\frac{1}{2} é 語 &amp;"),
    ],
)
def test_plain_characters(text: str, expected: str) -> None:
    assert plain_characters(text) == expected
