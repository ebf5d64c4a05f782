"""One of a list of answers.

An answer is written as the tokenizer spells it, and in no other way: that is how a model saw it while it was trained,
and other ways of cutting it up would compete with its probability. Byte-level vocabularies have two spellings of a
word, with the space before it and without; a model may use either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vision2seq.errors import OptionError
from vision2seq.generation.constraints.base import Constraint
from vision2seq.generation.constraints.machine import Ids, Machine


class Choices(Constraint):
    """The text is one of some answers.

    What a tokenizer cannot keep (capitals in an uncased vocabulary, "3.14" where decoding gives "3. 14") is no
    obstacle: `answer` gives the answer as it was listed.

    Args:
        answers: Texts, at least one.

    Raises:
        OptionError: None, or something that is no text.
    """

    def __init__(self, answers: Iterable[str]) -> None:
        super().__init__()
        if isinstance(answers, str):
            raise OptionError(f"choices is the text {answers!r}, expected a list of texts: [{answers!r}].")
        self.answers = list(dict.fromkeys(answers))
        wrong = [each for each in self.answers if not isinstance(each, str) or not each.strip()]
        if wrong or not self.answers:
            found = f"{wrong[0]!r} among them" if wrong else "none"
            raise OptionError(f"choices are texts to choose from, at least one and none of them empty; found {found}.")

    def answer(self, text: str, tokenizer: Any) -> str:
        """The answer that a generated text stands for.

        Args:
            text: What the tokenizer decodes.
            tokenizer: The one of the call.
        """
        return self._by_text(tokenizer).get(text.strip(), text)

    def _by_text(self, tokenizer: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for answer in self.answers:
            ids = tokenizer.encode(answer, add_special_tokens=False)
            lost = tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids
            text = tokenizer.decode(ids, skip_special_tokens=True).strip()
            if lost or not text:
                signs = "".join(sorted({sign for sign in answer if not _can_write(tokenizer, sign)}))
                raise OptionError(
                    f"The answer {answer!r} cannot be written with this vocabulary"
                    f"{f', which lacks {signs!r}' if signs else ''}. Change it, or leave it out."
                )
            if text in found:
                raise OptionError(
                    f"The answers {found[text]!r} and {answer!r} are the same to this tokenizer: {text!r}. "
                    "Leave one out."
                )
            found[text] = answer
        return found

    def _build(self, tokenizer: Any, vocabulary: int) -> Machine:
        trie = Trie()
        for text, answer in self._by_text(tokenizer).items():
            for spelling in (answer, f" {answer}"):
                ids = tokenizer.encode(spelling, add_special_tokens=False)
                if spelling != answer and tokenizer.decode(ids, skip_special_tokens=True).strip() != text:
                    continue
                if max(ids) >= vocabulary:
                    raise OptionError(
                        f"The answer {answer!r} needs the token {max(ids)}, but the model's tokens end at "
                        f"{vocabulary - 1}. Use the tokenizer that belongs to the model."
                    )
                trie.add(ids)
        return trie


def _can_write(tokenizer: Any, sign: str) -> bool:
    ids = tokenizer.encode(sign, add_special_tokens=False)
    return sign.isspace() or (bool(ids) and tokenizer.unk_token_id not in ids)


class Trie:
    """A `Machine` of some sequences of ids, one at least; a state is a node."""

    def __init__(self) -> None:
        self.start = 0
        self._children: list[dict[int, int]] = [{}]
        self._heights: list[float] = [float("inf")]

    def add(self, ids: list[int]) -> None:
        """Allow one more sequence."""
        node = 0
        for place, token in enumerate(ids):
            self._heights[node] = min(self._heights[node], len(ids) - place)
            child = self._children[node].get(token)
            if child is None:
                child = self._children[node][token] = len(self._children)
                self._children.append({})
                self._heights.append(len(ids) - place - 1)
            node = child
        self._heights[node] = 0

    def edges(self, state: int) -> Mapping[int, Ids]:
        return {child: np.array([token], dtype=np.int64) for token, child in self._children[state].items()}

    def advance(self, state: int, token: int) -> int | None:
        return self._children[state].get(token)

    def accepts(self, state: int) -> bool:
        return self._heights[state] == 0

    def distance(self, state: int) -> float:
        return self._heights[state]
