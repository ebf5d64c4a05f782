"""Nougat's Markdown put in order: pages whose result is known from the reference, and each rule by itself."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from vision2seq.processing.output.nougat import (
    correct_tables,
    get_slices,
    join_pages,
    markdown_compatible,
    normalize_list_like_lines,
    post_process_generation,
    post_process_single,
    remove_hallucinated_references,
    remove_slice_from_lines,
    similarity,
    truncate_repetitions,
)

PAGES = json.loads((Path(__file__).parents[1] / "goldens" / "nougat" / "pages.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("known", PAGES, ids=[page["page"][:30] for page in PAGES])
def test_pages_come_out_as_from_the_reference(known: dict[str, str]) -> None:
    assert post_process_single(known["page"]) == known["markdown"]
    assert post_process_single(known["page"], fix_markdown=False) == known["raw"]


def test_several_pages_at_once() -> None:
    pages = [page["page"] for page in PAGES]
    assert post_process_generation(pages) == [page["markdown"] for page in PAGES]
    assert post_process_generation(pages, False) == [page["raw"] for page in PAGES]
    assert post_process_generation(pages[0]) == PAGES[0]["markdown"]
    assert post_process_generation([]) == []


def test_pages_that_went_wrong_are_marked() -> None:
    pages = ["# A\n\n", " [MISSING_PAGE_POST]\n", "text, text, te", "la la la", "\n\n\n\nThe end. "]
    assert join_pages(pages, [None, None, 6, 0, None]).split("\n\n") == [
        "# A",
        "[MISSING_PAGE_EMPTY:2]",
        "[MISSING_PAGE_FAIL:3]",
        "[MISSING_PAGE_EMPTY:4]",
        "The end.",
    ]
    assert join_pages(["a ", "b"]) == "a b"
    assert join_pages(["[MISSING_PAGE_POST]"], [5]) == "[MISSING_PAGE_EMPTY:1]"
    assert join_pages([]) == ""


def test_a_space_follows_a_whole_word_only_if_words_are_known() -> None:
    assert post_process_single("the last word") == "the last word "
    assert post_process_single("the last word", words={"word"}) == "the last word "
    assert post_process_single("the last wor", words={"word"}) == "the last wor"


def test_a_repeating_tail_is_cut_to_one_sentence() -> None:
    sentence = "This is one sentence of a loop, which is long enough. "
    cut = truncate_repetitions("A beginning. " + sentence * 6)
    assert cut == "A beginning. " + sentence.strip()
    assert truncate_repetitions("A beginning. " + sentence) == "A beginning. " + sentence
    short = "short. " * 3
    assert truncate_repetitions(short) == short
    assert truncate_repetitions("ab. " * 12, min_len=4) != "ab. " * 12


def references(count: int) -> list[str]:
    return [f"* [{number}] A. Author and B. Writer, A Journal {number} ({number})." for number in range(1, count + 1)]


def test_a_long_list_of_references_that_are_alike_is_a_missing_page() -> None:
    text = "\n".join(["Some text.", "", "## References", "", *references(20)])
    cleaned = remove_hallucinated_references(text)
    assert "[MISSING_PAGE_POST]" in cleaned
    assert "Author" not in cleaned
    assert "## References" not in cleaned
    kept = "\n".join(["Some text.", "", "## References", "", *references(10)])
    assert remove_hallucinated_references(kept) == kept
    assert remove_hallucinated_references("") == ""


def test_runs_of_lines_that_are_alike() -> None:
    alike = ["A. Author, Journal ()."] * 20
    assert get_slices(alike) == [(0, 20)]
    assert get_slices([*alike, "something else", *alike]) == [(0, 41)]  # a gap of one line ends no run
    other = ["quite different", "nothing alike here", "and no more of it", "zzzz yyyy xxxx"]
    assert get_slices([*alike, *other, *alike]) == [(0, 20), (24, 44)]
    assert get_slices(alike[:15]) == []
    assert get_slices(["[MISSING_PAGE_EMPTY]"] * 30) == []
    assert get_slices(["abc"] * 30) == []
    assert get_slices(["a" * 200] * 30) == []


def test_what_goes_on_with_the_next_page_stays() -> None:
    lines = [*references(20), "* [21] A. Author and B. Writer, then the next page goes on"]
    clean = ["* [] A. Author and B. Writer, A Journal  ()."] * 20 + [
        "* [] A. Author and B. Writer, then the next page goes on"
    ]
    removed = remove_slice_from_lines(lines, clean, (0, 20))
    assert removed.endswith("* [21] A. Author and B. Writer, t")
    assert removed.startswith("* [1]")


def test_items_in_one_line_are_broken() -> None:
    assert normalize_list_like_lines("text\n- a b - c d\ntext") == "text\n- a b\n- c d\ntext"
    assert normalize_list_like_lines("text - no list - at all") == "text - no list - at all"
    assert normalize_list_like_lines("* 1 a * 1.1 b") == "* 1 a\n\t* 1.1 b\n"


def test_tables_get_lines_of_their_own() -> None:
    table = r"\begin{table} \begin{tabular}{l} a \\ \end{tabular} \end{table} Table 1"
    assert correct_tables(table).split("\n") == [
        r"\begin{table}",
        r"\begin{tabular}{l} a \\ \end{tabular}",
        r"\end{table}",
        "Table 1",
    ]
    assert correct_tables("a\n" + r"\multicolumn" * 61 + "\nb") == "a\n\nb"


def test_formulas_and_links_are_spelled_as_markdown_wants() -> None:
    assert markdown_compatible(r"\[x\] (2b)") == r"\[x \tag{2b}\]"
    assert markdown_compatible(r"(7) \[x\]") == r"\[x \tag{7}\]"
    assert markdown_compatible("https://a.org/b.") == "[https://a.org/b](https://a.org/b)."
    assert markdown_compatible("```x y```") == "```\nx y\n```"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("", "", 1.0),
        ("a", "", 0.0),
        ("abc", "abc", 1.0),
        ("abc", "xyz", 0.0),
        ("abcd", "bcda", 0.75),
        ("kitten", "sitting", 1 - 5 / 13),
        ("a" * 9 + "b", "a" * 9 + "c", 0.9),
        ("x" * 100, "x" * 101, 1 - 1 / 201),
    ],
)
def test_similarity_is_that_of_the_longest_common_subsequence(one: str, other: str, expected: float) -> None:
    assert similarity(one, other) == similarity(other, one) == expected


def test_a_long_page_takes_no_time() -> None:
    page = "\n\n".join(f"Paragraph {number} " + "with some words in it " * 9 for number in range(80)) + "the end " * 200
    began = time.perf_counter()
    assert post_process_single(page)
    assert time.perf_counter() - began < 5
