"""The public names of `vision2seq.training`, and that asking for none of them costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vision2seq.training as training


def test_names_are_sorted_and_there() -> None:
    assert training.__all__ == sorted(training.__all__)
    assert set(training._HOMES) == set(training.__all__)
    for name in training.__all__:
        assert getattr(training, name).__name__ == name
        assert getattr(training, name).__doc__


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'finetuned'\. Did you mean 'finetune'\?"):
        training.finetuned  # noqa: B018


def test_importing_and_comparing_load_no_torch() -> None:
    code = (
        "import sys\nfrom vision2seq.training import read_examples, score, TrainingSettings\n"
        "print('torch' in sys.modules, 'PIL' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
