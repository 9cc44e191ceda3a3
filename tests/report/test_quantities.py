"""Numbers as people read them, paths as ranges, answers cut at their first difference."""

from __future__ import annotations

import pytest

from attnswitch.report.answer_parts import AnswerParts, answer_parts
from attnswitch.report.quantities import (
    bytes_text,
    error_text,
    interval_text,
    ratio_text,
    seconds_text,
)
from attnswitch.report.safe_text import one_line, visible
from attnswitch.report.sentences import ratio_words
from attnswitch.report.site_ranges import natural_order, site_ranges


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.2345, "1.23 s"),
        (12.345, "12.3 s"),
        (0.0449, "45 ms"),
        (0.00449, "4.5 ms"),
        (0.4123, "412 ms"),
        (0.000012, "12 µs"),
        (0, "0 µs"),
        (125.2, "2 min 5 s"),
        (None, "not measured"),
        (float("nan"), "not measured"),
    ],
)
def test_seconds(seconds: float | None, text: str):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(812 * 2**20, "812 MiB"), (1.234 * 2**30, "1.23 GiB"), (512, "512 B"), (1536, "1.50 KiB"),
     (None, "not measured")],
)  # fmt: skip
def test_bytes(count: float | None, text: str):
    assert bytes_text(count) == text


def test_ratios_and_errors():
    assert ratio_text(1.184) == "1.18×"
    assert ratio_text(15.62) == "16×"
    assert interval_text(1.12, 1.251) == "1.12–1.25"
    assert interval_text(None, 1.2) == ""
    assert error_text(0.00312) == "3.1e-3"
    assert error_text(0.0) == "0"
    assert error_text(float("inf")) == "not finite"
    assert error_text(None) == "–"


@pytest.mark.parametrize(
    ("low", "median", "high", "words"),
    [
        (1.1, 1.18, 1.2, "18 % slower"),
        (0.7, 0.82, 0.9, "18 % faster"),
        (0.99, 1.18, 1.3, "no difference beyond the noise"),
        (5.1, 5.6, 6.0, "5.6 times as long"),
        (None, 1.18, None, "no interval: not ranked"),
        (1.0, 1.0, 1.0, "the same"),
    ],
)
def test_a_ratio_is_ranked_only_outside_its_interval(low, median, high, words: str):
    assert ratio_words("prefill", {"low": low, "median": median, "high": high}) == words


def test_paths_become_ranges():
    paths = [f"model.layers.{n}.self_attn" for n in (0, 1, 2, 5)]
    assert site_ranges(paths) == ["layers.0–2,5"]
    assert site_ranges(["a.3.cross_attn", "a.4.cross_attn"]) == ["a.3–4.cross_attn"]
    assert site_ranges(["", "projector"]) == ["(no module path)", "projector"]
    assert site_ranges(["tower1.layers.0", "tower2.layers.0"]) == [
        "tower1.layers.0",
        "tower2.layers.0",
    ]
    assert sorted(["l.10.x", "l.2.x"], key=natural_order) == ["l.2.x", "l.10.x"]


def answered(answer: str, *texts: str) -> dict:
    return {"answer": answer, "token_texts": list(texts)}


def test_answers_are_cut_at_the_token():
    runs = [answered("a red box", "a", " red", " box"), answered("a ruby", "a", " r", "uby")]
    assert answer_parts(runs, 1) == [
        AnswerParts("a ", "red", " box"),
        AnswerParts("a ", "r", "uby"),
    ]


def test_answers_are_cut_at_the_word_where_tokens_do_not_add_up():
    runs = [answered("a red box", "▁a", "▁red"), answered("a blue box", "▁a", "▁blue")]
    assert [parts.different for parts in answer_parts(runs, 1)] == ["red", "blue"]


def test_an_answer_that_stops_says_so():
    runs = [answered("a box", "a", " box", "</s>"), answered("a box and", "a", " box", " and")]
    assert answer_parts(runs, 2) == [
        AnswerParts("a box", ended=True),
        AnswerParts("a box ", "and"),
    ]


def test_text_is_made_safe_to_show():
    assert visible("a\x1b\r\nb\x85\u202e") == "a␛\nb\\x85\\u202e"
    assert visible("\ud800").encode() == "\ufffd".encode()
    assert one_line("a\n b" + "c" * 100, 10) == "a bcccccc…"
