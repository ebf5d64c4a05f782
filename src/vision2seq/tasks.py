"""Tasks: what Donut's checkpoints can be asked, by the prompt that their decoder goes on with.

A task is a token such as ``<s_cord-v2>`` that was added to the tokenizer and that nothing closes. Those that are known
by name are in `TASKS`; any other that a tokenizer has is a task, too, with that token as its whole prompt.

Source: the prompts of the original Donut, and of the examples for ``DonutProcessor`` of transformers 4.57.6.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vision2seq.errors import OptionError, nearest
from vision2seq.processing.output.donut import WHOLE_TEXT, token2json

NONE = "none"
"""What to pass as a task where none is wanted: the text as it is, from the checkpoint's own start token on."""
PRETRAINING = ("iitcdip", "synthdog")
"""What Donut was pretrained on; all checkpoints made from it keep these tokens."""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing that a checkpoint can be asked.

    Attributes:
        name: As in its token ``<s_name>``.
        more: What follows that token in the prompt; ``{question}`` stands for the question.
        answer: The field that is the text of a reading; empty where the text is all of the fields, as JSON.
    """

    name: str
    more: str = ""
    answer: str = ""

    @property
    def token(self) -> str:
        """What the prompt begins with, and the tokenizer must have."""
        return f"<s_{self.name}>"

    @property
    def asks(self) -> bool:
        """Whether it needs a question."""
        return "{question}" in self.more


TASKS = {
    task.name: task
    for task in (
        Task("docvqa", "<s_question>{question}</s_question><s_answer>", "answer"),
        Task("cord"),
        Task("cord-v2"),
        Task("zhtrainticket"),
        Task("rvlcdip", answer="class"),
        Task("iitcdip", answer=WHOLE_TEXT),
        Task("synthdog", answer=WHOLE_TEXT),
    )
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A task as it is put to a model.

    Attributes:
        task: What is asked.
        prompt: The text that the decoder goes on with.
        ids: The prompt's tokens.
    """

    task: Task
    prompt: str
    ids: tuple[int, ...]

    def options(self, tokenizer: Any) -> dict[str, Any]:
        """Options of generation that go with every task: a field holds no unknown token."""
        unknown = tokenizer.unk_token_id
        return {} if unknown is None else {"bad_words_ids": [[unknown]]}

    def fields(self, tokenizer: Any, ids: Sequence[int]) -> Any:
        """What the model answered, as `token2json` reads it.

        Args:
            tokenizer: The checkpoint's.
            ids: What was generated after the prompt.
        """
        text = tokenizer.decode([*self.ids, *ids], skip_special_tokens=False)
        for token in {tokenizer.eos_token, tokenizer.pad_token} - {None, self.task.token}:
            text = text.replace(token, "")
        text = text.strip().removeprefix(self.task.token).strip()
        # What the prompt opens is closed at the end, even if the model stopped before.
        for name in re.findall("<s_(.*?)>", self.task.more):
            text += "" if f"</s_{name}>" in text else f"</s_{name}>"
        return token2json(text, added_vocab=tokenizer.get_added_vocab())

    def text(self, fields: Any) -> str:
        """The fields as the text of a reading: the answer alone where there is one, else all of them as JSON."""
        answer = fields.get(self.task.answer or WHOLE_TEXT) if isinstance(fields, dict) else None
        return answer if isinstance(answer, str) else json.dumps(fields, ensure_ascii=False)


def tasks_of(tokenizer: Any) -> dict[str, Task]:
    """The tasks that a checkpoint knows, by name, sorted: the tokens ``<s_name>`` of its tokenizer that none closes."""
    added = tokenizer.get_added_vocab()
    names = [token[len("<s_") : -1] for token in added if re.fullmatch("<s_[^<>]+>", token)]
    return {name: TASKS.get(name, Task(name)) for name in sorted(names) if f"</s_{name}>" not in added}


def default_task(tokenizer: Any, start_token_id: Any) -> Task | None:
    """The task of a checkpoint that was made for one.

    Args:
        tokenizer: The checkpoint's.
        start_token_id: What its texts begin with unless told.

    Returns:
        The one whose token the texts begin with; else the only one besides those of Donut's pretraining; else None.
    """
    known = tasks_of(tokenizer)
    starting = [task for task in known.values() if tokenizer.convert_tokens_to_ids(task.token) == start_token_id]
    own = [task for name, task in known.items() if name not in PRETRAINING]
    chosen = starting or own
    return chosen[0] if len(chosen) == 1 else None


def ask(tokenizer: Any, task: str | None, question: str | None = None, start_token_id: Any = None) -> Asked | None:
    """Put a task to a checkpoint.

    Args:
        tokenizer: The checkpoint's.
        task: Its name, or its token; None for that of `default_task`; ``"none"`` for none.
        question: For tasks that need one.
        start_token_id: What the checkpoint's texts begin with unless told.

    Returns:
        None if there is no task.

    Raises:
        OptionError: A task that the tokenizer has no token for, or whose question is missing; a question that nobody
            asked for.
    """
    if task == NONE:
        chosen = None
    elif task is None:
        chosen = default_task(tokenizer, start_token_id)
    else:
        chosen = _known(tokenizer, task)
    if chosen is None or not chosen.asks:
        if question is not None:
            why = "there is no task to answer it" if chosen is None else f"the task {chosen.name!r} takes none"
            raise OptionError(f"question is {question!r}, but {why}. Leave it out, or pass task='docvqa'.")
    elif not question:
        raise OptionError(
            f"The task {chosen.name!r} answers a question: pass question='…', or task='none' for the text as it is."
        )
    if chosen is None:
        return None
    prompt = chosen.token + chosen.more.replace("{question}", question or "")
    return Asked(chosen, prompt, tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"]))


def _known(tokenizer: Any, task: str) -> Task:
    if not isinstance(task, str):
        raise OptionError(f"task is {task!r}. Expected its name, such as 'docvqa', or 'none'.")
    name = task.removeprefix("<s_").removesuffix(">")
    known = tasks_of(tokenizer)
    if name not in known:
        has = ", ".join(known) if known else "no tasks: it has no tokens such as <s_docvqa>"
        raise OptionError(
            f"This checkpoint does not know the task {name!r}: its tokenizer has no token <s_{name}>."
            f"{nearest(name, known)} It knows {has}."
        )
    return known[name]
