"""The eager problem: scores in half precision, shown where logits are large, and named."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from tests.verification import models


def verified(dtype, logit_scale):
    model = models.llama(3, logit_scale=logit_scale, dtype=dtype, positions=512)
    return attnswitch.verify(
        model, models.prompt(200), candidate="eager", baseline="standard", max_new_tokens=0
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_large_logits_make_half_precision_eager_wrong(dtype):
    found = verified(dtype, 20.0)
    first = found.first_failure
    assert (first.kind, first.who, first.request) == ("local", "candidate", "eager")
    name = str(dtype).removeprefix("torch.")
    assert f"its scores are kept in {name}" in first.words
    sites = found.to_json()["sites"]
    assert sites[0]["baseline"]["local"]["passes"], "standard attention is right there"
    assert sites[0]["statistics"]["rounding_of_scores"] > 0.01


def test_eager_in_float32_is_right():
    assert not [f for f in verified(torch.float32, 20.0).failures if f.kind == "local"]


def test_small_logits_hide_it():
    """The same code passes the rule where scores are small: the site's logits explain it."""
    small, large = verified(torch.bfloat16, 0.3), verified(torch.bfloat16, 20.0)

    def worst(found):
        local = [s["local"] for s in found.to_json()["sites"]]
        return max(one["error"]["rms"] / one["yardstick_error"]["rms"] for one in local)

    assert worst(small) < worst(large) / 2
