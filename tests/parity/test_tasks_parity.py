"""A Donut asked its task, against the example on transformers' page of Donut: whatever is written, the same fields."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from donut_folder import donut, saying

from vision2seq import Reader

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

TAGS = (
    "<s_cord-v2> <s_a> </s_a> <s_b> </s_b> <sep/> <yes/> <s_docvqa> <s_question> </s_question> <s_answer> </s_answer>"
).split()
PROMPTS = {
    "cord-v2": ("<s_cord-v2>", None),
    "docvqa": ("<s_docvqa><s_question>What is it</s_question><s_answer>", "What is it"),
}
WRITTEN = [
    "<s_a>1</s_a><s_b>x y<sep/> z </s_b>",
    "<s_a><s_b>1</s_b><sep/><s_b><yes/></s_b></s_a>",
    "<s_a>1</s_a><sep/><s_a>2</s_a>",
    "it is </s_answer>",
    " <yes/></s_answer>",
    "<s_a>1",
    "",
]


class TheExample:
    """The lines of the page, with the texts that the model writes given."""

    def __init__(self, folder: Path) -> None:
        self.processor = transformers.DonutProcessor.from_pretrained(folder)
        self.model = transformers.VisionEncoderDecoderModel.from_pretrained(folder).eval()

    def __call__(self, image: Any, prompt: str, say: Any) -> Any:
        tokenizer = self.processor.tokenizer
        outputs = self.model.generate(
            self.processor(image, return_tensors="pt").pixel_values,
            decoder_input_ids=tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids,
            max_length=self.model.decoder.config.max_position_embeddings,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            use_cache=True,
            bad_words_ids=[[tokenizer.unk_token_id]],
            return_dict_in_generate=True,
            prefix_allowed_tokens_fn=say,
        )
        text = self.processor.batch_decode(outputs.sequences)[0]
        text = text.replace(tokenizer.eos_token, "").replace(tokenizer.pad_token, "")
        return self.processor.token2json(re.sub(r"<.*?>", "", text, count=1).strip())


@pytest.mark.parametrize("task", PROMPTS)
@pytest.mark.parametrize("special", [False, True])
def test_the_fields_of_the_example(task: str, special: bool, tmp_path: Path) -> None:
    folder = donut(tmp_path, *TAGS, special=special)
    example, reader = TheExample(folder), Reader.from_pretrained(folder, task=task)
    prompt, question = PROMPTS[task]
    chance = random.Random(0)
    pieces = [*TAGS, "x", " ", "y z", "</s>"]
    texts = [*WRITTEN, *("".join(chance.choices(pieces, k=chance.randint(1, 9))) for _ in range(25))]
    whole = 0
    for text in texts:
        theirs = example(tiny.picture(), prompt, saying(reader, text))
        (reading,) = reader.read(tiny.picture(), question=question, prefix_allowed_tokens_fn=saying(reader, text))
        if task == "docvqa" and "</s_answer>" not in text.split("</s>")[0]:
            continue  # never closed: an answer here, none there
        assert reading.data == theirs
        whole += 1
    assert whole > 5
