"""Make pages.json: pages as Nougat writes them, and what transformers 4.57.6 makes of each.

Run in the environment of the parity tests, which has nltk and Levenshtein: ``.venv-parity/bin/python
tests/goldens/nougat/make.py``. nltk's list of words is not there, so that a space follows any last word.
"""

from __future__ import annotations

import json
from pathlib import Path

from transformers.models.nougat.tokenization_nougat_fast import NougatTokenizerFast


def references(numbers: range, gap: str = "\n") -> str:
    return "".join(f"* [{n}] J. Smith, A. B. Cee, Phys. Rev. {n * 3} ({1900 + n}).{gap}" for n in numbers)


PAGES = [
    "plain text without an end",
    "A sentence.",
    "# Title\n\nText with a formula \\(x\\)}",
    "## 3 Method",
    "Text\n\n## Made up",
    "# 1 "
    + "a heading that is much too long to be one, as it goes on and on over more than a hundred characters"
    + " to the end\nText.",
    "### iv.\n\nText",
    "* one\n* [leftmargin=*]\n* two",
    "* [12][]ABC",
    "* [3] A. B. C. D. E. F. G. H. I. J. K. L. M. and so on\nrest",
    "x\n\nA page.\n\ny",
    "Let _x_ and _a__b_ be.",
    "a\nFootnote 1: footnotetext: of a note\n\nb",
    "before [FOOTNOTE:1]inside[ENDFOOTNOTE] after",
    "- item one - item two - 1.2 deep item",
    "Text\n* 1 first * 1.2 second * 1.2.3 third\nText",
    "see \\begin{table} \\begin{tabular}{l l} a & b \\\\ \\end{tabular} \\end{table} Table 1",
    "x \\begin{tabular}{l l}  & \\\\ \\end{tabular} y",
    "a\n\\begin{tabular}{ccc} & & \\\\ \\end{tabular}\nb",
    "bad " + "&" * 401 + "\ngood",
    "\\begin{array}[]{cc} 1 \\end{array}",
    "**S. A. B.**\n\n**S. A. B.**\n\nText.",
    "Text\n#\n## [\n### a\nMore",
    "Text\n.\nMore\n\n\n\n\nEnd",
    "(1.2a) \\[x=y\\]",
    "\\[x=y\\] (3)",
    "\\[x=y\\] (3) \\[z\\]",
    "a\\. b \\bm{x} {\\\\bm y} \\mbox{\\boldmath$z$}",
    "see http://a.b.com/x?y=1 and ftp://x_y.z-w.de/~u",
    "``` for i in x ```",
    "A",
    ",",
    "Figure 3: a caption",
    "Text\nTable 2 shows",
    "",
    "   \n ",
    "The start of it. " + "A tail that repeats itself, again and again. " * 5,
    "The start of it. " + "no stop at all in this repeating tail of text, " * 4,
    "Text.\n\n## References\n\n" + references(range(1, 25)),
    "Text.\n\nOther text that is not alike at all, of the same length.\n"
    + references(range(1, 25), gap="\n\n")
    + "* [25] J. Smith, A. B. Cee, Phys. Rev. goes on with the next page",
    references(range(1, 9)),
    "Text [MISSING_PAGE_EMPTY:3]\n\n[MISSING_PAGE_FAIL:1]",
]


def main() -> None:
    reference = NougatTokenizerFast.__new__(NougatTokenizerFast)  # the texts need no vocabulary
    pages = [
        {
            "page": page,
            "markdown": reference.post_process_single(page),
            "raw": reference.post_process_single(page, fix_markdown=False),
        }
        for page in PAGES
    ]
    text = json.dumps(pages, indent=1, ensure_ascii=False) + "\n"
    Path(__file__).with_name("pages.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
