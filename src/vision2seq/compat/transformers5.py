"""Import this, and ``from transformers import AutoModelForVision2Seq`` works on transformers 5, which dropped the name.

    import vision2seq.compat.transformers5

It is for code of others that still imports the name and goes on with a model of transformers. That is what it gets, of
every model type that transformers has: the class is their own ``AutoModelForImageTextToText`` under its old name, and
takes the old arguments that 5.x dropped. Code of your own imports the name from ``vision2seq`` instead.

Where transformers has the name, as 4.x does, nothing is changed.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from vision2seq import handover
from vision2seq.errors import MissingPackageError, UnsupportedError

_NAME = "AutoModelForVision2Seq"
_HOMES = ("transformers", "transformers.models.auto", "transformers.models.auto.modeling_auto")
_TABLES = {
    "MODEL_FOR_VISION_2_SEQ_MAPPING": "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
    "MODEL_FOR_VISION_2_SEQ_MAPPING_NAMES": "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
}
_FRAMEWORKS = {"from_tf": "TensorFlow", "from_flax": "Flax"}


def install() -> type:
    """Give transformers the name back, and its tables; the class that goes by it.

    Raises:
        MissingPackageError: transformers is not installed.
    """
    library = handover.transformers()
    if library is None:
        raise MissingPackageError(
            "vision2seq.compat.transformers5 gives transformers a name back, but transformers is not installed: "
            "pip install transformers. Or import AutoModelForVision2Seq from vision2seq, which needs none."
        )
    there = getattr(library, _NAME, None)
    if there is not None:
        return there
    made = _make(library.AutoModelForImageTextToText)
    models = importlib.import_module(_HOMES[-1])
    for name in _HOMES:
        module = importlib.import_module(name)
        setattr(module, _NAME, made)
        for old, new in _TABLES.items():
            if hasattr(module, new):
                setattr(module, old, getattr(models, new))
    return made


def _make(base: Any) -> type:
    class AutoModelForVision2Seq(base):  # type: ignore[misc]
        """transformers' ``AutoModelForImageTextToText`` by its name of before release 5."""

        @classmethod
        def from_pretrained(cls, pretrained_model_name_or_path: Any, *model_args: Any, **kwargs: Any) -> Any:
            """Load a model of transformers; see there. Arguments that release 5 dropped are taken as before.

            Raises:
                UnsupportedError: Weights of TensorFlow or Flax, which release 5 ignores the wish for.
            """
            for name, framework in _FRAMEWORKS.items():
                if kwargs.pop(name, False):
                    raise UnsupportedError(
                        f"{name}=True was given, but transformers 5 reads no weights of {framework}. Load them with "
                        "vision2seq.AutoModelForVision2Seq and save_pretrained() them; it loads what that writes."
                    )
            kwargs.pop("resume_download", None)
            token = kwargs.pop("use_auth_token", None)
            if token is not None:
                warnings.warn("`use_auth_token` is the old name of `token`; pass token=…", FutureWarning, stacklevel=2)
                kwargs.setdefault("token", token)
            return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)

    AutoModelForVision2Seq.__module__ = _HOMES[-1]
    AutoModelForVision2Seq.__qualname__ = _NAME
    return AutoModelForVision2Seq


install()
