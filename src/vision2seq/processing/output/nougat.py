"""Nougat's Markdown, put in order: the known faults of its models taken out, page by page.

Two of the rules are about loops. A tail that repeats itself is cut down to one copy; a list of references that are all
alike is taken for made up, and ``[MISSING_PAGE_POST]`` stands where it was. The others are about Markdown and LaTeX.

Whether a space follows depends on the page's last word: the reference looks it up in a list of 236,736 English words,
which has to be downloaded, and puts a space where it has no list. So does this, unless it is given one.

Source: the results of ``NougatTokenizerFast.post_process_generation`` of transformers 4.57.6, which needs nltk and
Levenshtein. What that does by mistake is done here as well, and marked.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence

SHORTEST_LOOP = 30
"""Characters that a repeating tail has at least, each time."""
SHORTEST_LIST = 15
"""Lines that a list of made-up references has more than."""
ALIKE = 0.9
"""Similarity above which two references are alike."""
MISSING = "\n\n[MISSING_PAGE_POST]\n\n"

_LONG_HEADING = re.compile(r"(?:\n|^)#+ \d*\W? ?(.{100,})")
_EMPTY_HEADING = re.compile(r"^#+ (?:[\d+\.]+|[ixv\.]+)?\s*(?:$|\n\s*)", re.MULTILINE)
_NUMERAL = re.compile(r"^[\dixv]+((?:\.[\dixv])?)+$", re.IGNORECASE | re.MULTILINE)
_EQUATION = r"\\\[(.+?)\\\]"
_NUMBER = r"\(([\d.]+[a-zA-Z]?)\)"

# Applied one after the other: what is looked for, what stands there instead, and flags.
_BEFORE_LISTS = (
    # References of initials alone, and empty brackets after a reference's number.
    (r"^\* \[\d+\](\s?[A-W]\.+\s?){10,}.*$", "", re.MULTILINE),
    (r"^(\* \[\d+\])\[\](.*)$", r"\1\2", re.MULTILINE),
    # A single letter at the top or the bottom.
    (r"(^\w\n\n|\n\n\w$)", "", 0),
    # Formulas that PubMed's files spell with underscores.
    (r"([\s.,()])_([a-zA-Z0-9])__([a-zA-Z0-9]){1,3}_([\s.,:()])", r"\1\(\2_{\3}\)\4", 0),
    (r"([\s.,\d])_([a-zA-Z0-9])_([\s.,\d;])", r"\1\(\2\)\3", 0),
    # Footnotes.
    (r"(\nFootnote .*?:) (?:footnotetext|thanks):\W*(.*(?:\n\n|$))", r"\1 \2", 0),
    (r"\[FOOTNOTE:.+?\](.*?)\[ENDFOOTNOTE\]", "", 0),
)
_AFTER_TABLES = (
    (r"\\begin{tabular}{([clr ]){2,}}\s*[& ]*\s*(\\\\)? \\end{tabular}", "", 0),  # a table without content
    (r"(\*\*S\. A\. B\.\*\*\n+){2,}", "", 0),
    (r"^#+( [\[\d\w])?$", "", re.MULTILINE),  # a heading without text
    (r"^\.\s*$", "", re.MULTILINE),  # a line of one full stop
    (r"\n{3,}", "\n\n", 0),
)
_MARKDOWN = (
    # An equation's number beside it becomes its tag.
    (rf"^{_NUMBER} {_EQUATION}$", r"\[\2 \\tag{\1}\]", re.MULTILINE),
    (rf"^{_EQUATION} {_NUMBER}$", r"\[\1 \\tag{\2}\]", re.MULTILINE),
    (rf"^{_EQUATION} {_NUMBER} (\\\[.+?\\\])$", r"\[\1 \\tag{\2}\] \3", re.MULTILINE),
)
_MORE_MARKDOWN = (
    (r"\\mbox{ ?\\boldmath\$(.*?)\$}", r"\\mathbf{\1}", 0),
    # Addresses become links.
    (
        r"((?:http|ftp|https):\/\/(?:[\w_-]+(?:(?:\.[\w_-]+)+))(?:[\w.,@?^=%&:\/~+#-]*[\w@?^=%&\/~+#-]))",
        r"[\1](\1)",
        0,
    ),
    (r"```\s*(.+?)\s*```", r"```\n\1\n```", re.DOTALL),
)


def post_process_generation(
    generation: str | list[str], fix_markdown: bool = True, words: Container[str] | None = None
) -> str | list[str]:
    """Put the text of one page or of several in order; see `post_process_single`."""
    if isinstance(generation, list):
        return [post_process_single(page, fix_markdown, words) for page in generation]
    return post_process_single(generation, fix_markdown, words)


def post_process_single(generation: str, fix_markdown: bool = True, words: Container[str] | None = None) -> str:
    """Put the text of one page in order.

    Args:
        generation: What the model wrote, without special tokens.
        fix_markdown: Whether formulas, links and algorithms are spelled as Markdown wants them.
        words: What counts as a word that is whole, so that a space follows it at the page's end; None takes any.
    """
    text = _LONG_HEADING.sub(r"\n\1", generation).strip()  # such a long heading is none
    text = text.replace("\n* [leftmargin=*]\n", "\n")
    text = _EMPTY_HEADING.sub("", text)
    lines = text.split("\n")
    if len(lines) > 1 and re.match("#+ ", lines[-1]):  # a heading with nothing below it is most likely made up
        text = "\n".join(lines[:-1])
    text = truncate_repetitions(text)
    text = remove_hallucinated_references(text)
    text = _substituted(text, _BEFORE_LISTS)
    text = normalize_list_like_lines(text)
    text = _ended(text, words)
    text = correct_tables(text)
    text = text.replace("\\begin{array}[]{", "\\begin{array}{")
    text = _substituted(text, _AFTER_TABLES)
    return markdown_compatible(text) if fix_markdown else text


def join_pages(pages: Sequence[str], loops: Sequence[int | None] | None = None) -> str:
    """Make a document of its pages, with marks in the place of those that went wrong.

    A page that was nothing but made-up references becomes ``[MISSING_PAGE_EMPTY:3]``, and so does one that was a loop
    from its beginning; one that ran into a loop later becomes ``[MISSING_PAGE_FAIL:3]``.

    Args:
        pages: The texts of all pages, in order; `post_process_generation` was there before.
        loops: For each page what it holds before a loop, in characters or tokens, or None if it holds no loop.

    Source: nougat-ocr's ``predict.py``.
    """
    parts: list[str] = []
    for number, (text, loop) in enumerate(zip(pages, loops or [None] * len(pages), strict=True), 1):
        empty = loop == 0 or text.strip() == MISSING.strip()
        wrong = "EMPTY" if empty else None if loop is None else "FAIL"
        parts.append(text if wrong is None else f"\n\n[MISSING_PAGE_{wrong}:{number}]\n\n")
    return re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip()


def _substituted(text: str, rules: tuple[tuple[str, str, int], ...]) -> str:
    for pattern, replacement, flags in rules:
        text = re.sub(pattern, replacement, text, flags=flags)
    return text


def _ended(text: str, words: Container[str] | None) -> str:
    """A page's text with the white space around it that the next page needs."""
    if text.endswith((".", "}")):
        text += "\n\n"
    if re.match(r"[A-Z0-9,;:]$", text):  # of a page that is one sign; meant, but not written, for any page's end
        return text + " "
    if text.startswith(("#", "**", "\\begin")):
        return "\n\n" + text
    if text.split("\n")[-1].startswith(("#", "Figure", "Table")):
        return text + "\n\n"
    return text + " " if words is None or text.split(" ")[-1] in words else text


def markdown_compatible(text: str) -> str:
    """Spell numbered equations, bold formulas, addresses and algorithms as Markdown wants them."""
    text = _substituted(text, _MARKDOWN)
    text = text.replace(r"\. ", ". ")
    text = text.replace(r"\bm{", r"\mathbf{").replace(r"{\\bm ", r"\mathbf{")
    return _substituted(text, _MORE_MARKDOWN)


def correct_tables(generation: str) -> str:
    """Take out tables that are loops or empty, and give each table lines of its own."""
    text = generation
    for line in generation.split("\n"):
        if line.count("\\begin{tabular}") > 15 or line.count("\\multicolumn") > 60 or line.count("&") > 400:
            text = text.replace(line, "")
    text = text.replace("\\begin{table} \\begin{tabular}", "\\begin{table}\n\\begin{tabular}")
    text = text.replace("\\end{tabular} \\end{table}", "\\end{tabular}\n\\end{table}")
    text = text.replace("\\end{table} Tab", "\\end{table}\nTab")
    text = re.sub(r"(^.+)\\begin{tab", r"\1\n\\begin{tab", text, flags=re.MULTILINE)
    text = text.replace(r"\begin{tabular}{l l}  & \\ \end{tabular}", "")
    return text.replace("\\begin{tabular}{}\n\n\\end{tabular}", "")


def normalize_list_like_lines(generation: str) -> str:
    """Break a line that holds several items of a list, indented as deep as their numbers say."""
    lines = generation.split("\n")
    last = len(lines) - 1
    for number, line in enumerate(lines):
        inner = re.search(r". ([-*]) ", line)
        if inner is None or line[0] not in "-*":
            continue
        sign = inner[1] + " "
        written = ""
        for place, item in enumerate(line.split(sign)[1:]):
            item = item.strip()
            numeral, _, rest = item.partition(" ")
            if not rest:
                continue
            depth = numeral.count(".") if _NUMERAL.match(numeral) else 0
            first = place == 0
            written += ("" if first else "\n") + "\t" * depth
            written += (line[0] + " " if first and number > 0 else sign) + item
        lines[number] = written + ("\n" if number == last else "")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------ loops


def truncate_repetitions(text: str, min_len: int = SHORTEST_LOOP) -> str:
    """Cut a tail that repeats itself down to the end of a sentence of its first copy.

    Args:
        text: A page.
        min_len: Characters that the repeated part has at least.
    """
    lower = text.lower()
    size = len(lower)
    longest = None
    for length in range(min_len, int(size / 2)):
        if lower[size - 2 * length : size - length] == lower[size - length :]:
            longest = length
    if longest is None:
        return text
    copy, kept = lower[-longest:], size
    while lower.endswith(copy, 0, kept):
        kept -= longest
    tail, backwards = lower[kept:], lower[::-1]
    while True:  # up to the next end of a sentence, and on until the sentence is one of those that repeat
        end = _next_punctuation(lower, kept)
        # Meant is the sentence's start, but the place is counted from the text's end and used from its start.
        start = _next_punctuation(backwards, kept)
        if not end or not start:
            break
        kept = end + 1
        if lower[start:end] in tail:
            break
    return text[:kept]


def _next_punctuation(text: str, start: int) -> int | None:
    found = re.compile(r"[.?!\n]").search(text, start)
    return None if found is None else found.start()


def remove_hallucinated_references(text: str) -> str:
    """Put ``[MISSING_PAGE_POST]`` in the place of long lists whose lines are all alike."""
    lines = text.split("\n")
    clean = [_without_numbers(line) for line in lines]
    lists = [remove_slice_from_lines(lines, clean, found) for found in get_slices(clean)]
    for made_up in reversed(lists):
        text = text.replace(made_up, MISSING)
    return re.sub(r"## References\n+\[MISSING_PAGE_POST(:\d+)?\]", "\n\n[MISSING_PAGE_POST\\1]", text)


def _without_numbers(line: str) -> str:
    return re.sub(r"(?:[\d_]|\*\*)", "", line).strip()


def get_slices(clean_lines: list[str]) -> list[tuple[int, int]]:
    """Find runs of lines each of which is like the next one; gaps of up to two lines do not end a run.

    Args:
        clean_lines: A page's lines without numbers.

    Returns:
        First line and the one after the last of each run, for runs longer than `SHORTEST_LIST`.
    """
    runs: list[tuple[int, int]] = []
    for place in _lines_like_their_next(clean_lines):
        if runs and place - runs[-1][1] <= 1:
            runs[-1] = (runs[-1][0], place + 2)
        else:
            runs.append((place, place + 2))
    return [(start, end) for start, end in runs if end - start > SHORTEST_LIST]


def _lines_like_their_next(lines: list[str]) -> Iterator[int]:
    """Lines that are like the next one with text, and the empty ones between them, in order."""
    for place in range(len(lines) - 1):
        other = place + 1
        while not lines[other] and other < len(lines) - 1:
            other += 1
        line, next_line = lines[place], lines[other]
        if not (3 < len(line) < 200 and 3 < len(next_line) < 200) or line.startswith("[MISSING_PAGE"):
            continue
        if line == next_line or similarity(line, next_line) > ALIKE:
            yield from range(place, other)


def remove_slice_from_lines(lines: list[str], clean_text: list[str], slice: tuple[int, int]) -> str:
    """The text of a run of lines that are alike, to be taken out: widened to those around it that belong to it.

    Args:
        lines: A page's lines.
        clean_text: The same without numbers.
        slice: Of `get_slices`.
    """
    base = clean_text[slice[0]]
    first, last = slice
    found_start = False
    for place in range(max(0, slice[0] - 1), max(0, slice[0] - 5), -1):
        if not lines[place]:
            continue
        if lines[place] == "## References":
            first = place
            break
        if similarity(base, _without_numbers(lines[place])) < ALIKE:
            first = place + 1
            reference = _without_numbers(lines[max(0, place - 1)].partition("* [")[-1])
            if len(reference) >= 0.75 * len(base) and similarity(base, reference) < ALIKE:
                first = place
            found_start = True
            break
    for place in range(min(len(lines), slice[1]), min(len(lines), slice[1] + 5)):
        if similarity(base, _without_numbers(lines[place])) < ALIKE:
            last = place
            break
    if len(lines) <= last:
        last = len(lines) - 1
    removed = "\n".join(lines[first : last + 1])
    # The last line may go on with what belongs to the next page: all after where it differs from the line before.
    shared = _where_they_differ(lines[last - 1], lines[last])
    if found_start and "* [" in removed:
        removed = "* [" + removed.partition("* [")[-1]
    if shared is not None and (rest := len(lines[last]) - shared - 1) > 0:
        removed = removed[:-rest]
    return removed.strip()


def _where_they_differ(one: str, other: str) -> int | None:
    """The place in the second line of the first sign that differs, numbers aside; of its last sign if none does."""
    signs = enumerate(other)
    place = None
    for sign in one:
        if sign.isnumeric():
            continue
        for place, counterpart in signs:  # noqa: B007
            if not counterpart.isnumeric():
                break
        else:
            return place
        if sign != counterpart:
            return place
    return place


def similarity(one: str, other: str) -> float:
    """How alike two texts are, 0 to 1: twice the length of their longest common subsequence, over that of both.

    The same as ``Levenshtein.ratio``. The subsequence is found for a whole column of the table at once, one bit a sign.
    """
    total = len(one) + len(other)
    if not total:
        return 1.0
    where: dict[str, int] = {}
    for place, sign in enumerate(one):
        where[sign] = where.get(sign, 0) | 1 << place
    everything = (1 << len(one)) - 1
    column = everything
    for sign in other:
        matched = column & where.get(sign, 0)
        column = ((column + matched) | (column - matched)) & everything
    common = len(one) - column.bit_count()
    return 1.0 - (total - 2 * common) / total
