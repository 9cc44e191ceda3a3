"""Requests: what is accepted, and what the refusals say."""

from __future__ import annotations

import pytest

from attnswitch.errors import RequestError
from attnswitch.policy.requests import known_requests, parse_request


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("standard", "family"),
        ("flash", "family"),
        ("fused", "family"),
        ("Standard", "family"),
        (" math ", "backend"),
        ("blockwise", "backend"),
        ("reference", "backend"),
        ("no-flash", "no-flash"),
        ("auto", "auto"),
        ("policy.yaml", "policy"),
        ("./policy", "policy"),
        ("p.JSON", "policy"),
    ],
)
def test_accepted(word, kind):
    assert parse_request(word).kind == kind


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("off", "ATTNSWITCH: 'off' is no request; write 'standard' to turn FlashAttention off"),
        ("0", "write 'standard' to turn FlashAttention off"),
        ("false", "write 'standard' to turn FlashAttention off"),
        ("1", "write 'flash' to turn FlashAttention on"),
        ("true", "write 'flash' to turn FlashAttention on"),
        ("sdpa", "sdpa is not one kernel"),
        ("flash_attention_2", "write 'flash_attn' for the flash-attn package"),
        ("falsh", "unknown request 'falsh' (did you mean 'flash'?)"),
        ("blockwize", "(did you mean 'blockwise'?)"),
        ("", "the request is empty; write one of standard,"),
        ("yardstick", "unknown request 'yardstick'"),
    ],
)
def test_refused_with_what_to_write(word, message):
    with pytest.raises(RequestError) as caught:
        parse_request(word, "ATTNSWITCH")
    assert message in str(caught.value)
    assert caught.value.exit_status == 2


def test_every_known_request_parses():
    for word in known_requests():
        assert parse_request(word).word == word
