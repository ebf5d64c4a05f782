"""The languages that mBART and mBART-50 mark texts with, and the marks.

======== ===========================
mBART    text, its end, the language
mBART-50 the language, text, its end
======== ===========================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import processors

from vision2seq.errors import OptionError, nearest
from vision2seq.processing.text.style import special_id

MBART_LANGUAGES = tuple(
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX "
    "ro_RO ru_RU si_LK tr_TR vi_VN zh_CN".split()
)
MBART50_LANGUAGES = MBART_LANGUAGES + tuple(
    "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN "
    "te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI".split()
)
"""In the order of their ids."""
DEFAULT_LANGUAGE = "en_XX"


def language_marks(
    backend: Backend, specials: Mapping[str, str], language: str, first: bool
) -> processors.TemplateProcessing:
    """What marks a text's language and end.

    Args:
        backend: Knows the ids.
        specials: Name to text of the special tokens.
        language: A code, such as ``"en_XX"``.
        first: Whether it stands before the text rather than behind its end.

    Raises:
        OptionError: The vocabulary has no such code.
    """
    index = backend.token_to_id(language)
    if index is None:
        known = [token for token in MBART50_LANGUAGES if backend.token_to_id(token) is not None]
        raise OptionError(
            f"The tokenizer knows no language {language!r}.{nearest(language, known)} It knows: {', '.join(known)}."
        )
    eos, eos_id = special_id(backend, specials, "eos_token")
    before, behind = ([language], [eos]) if first else ([], [eos, language])
    return processors.TemplateProcessing(
        single=[*before, "$A", *behind],
        pair=[*before, "$A", "$B", *behind],
        special_tokens=[(language, index), (eos, eos_id)],
    )


def mark_language(first: bool, backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Let a tokenizer mark texts with the language that the options name; see `Style`."""
    language = str(options.get("src_lang") or DEFAULT_LANGUAGE)
    backend.post_processor = language_marks(backend, specials, language, first)
