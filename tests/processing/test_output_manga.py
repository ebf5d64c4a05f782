"""manga-ocr's characters, put in order."""

from __future__ import annotations

import pytest

from vision2seq.processing.output.manga import full_width, post_process


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("こ ん\nに ち は", "こんにちは"),
        ("え…", "え．．．"),
        ("え・・・っ", "え．．．っ"),
        ("え・っ", "え・っ"),
        ("あ..・", "あ．．．"),
        ("ABC xyz 123!?", "ＡＢＣｘｙｚ１２３！？"),
        ("ｶﾞｷﾞｸﾞ ﾊﾟ ｳﾞ ｱ", "ガギグパヴア"),
        ("", ""),
        (" \t\u3000", ""),
    ],
)
def test_post_process(text: str, expected: str) -> None:
    assert post_process(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("｡｢｣､･ｰ", "。「」、・ー"),
        ("ｱﾞ ﾞﾟ", "アﾞ\u3000ﾞﾟ"),  # marks that no letter takes
        ("漢字かなカナ", "漢字かなカナ"),
        ("~\\\"'", "～＼＂＇"),
    ],
)
def test_full_width(text: str, expected: str) -> None:
    assert full_width(text) == expected
