"""Mixed policies on every LLaVA-family class agree with each pure run, with receipts as planned."""

from __future__ import annotations

import pytest
import torch

from attnswitch.backends.catalogue import family_of
from attnswitch.policy.requests import Request
from attnswitch.switch import apply
from attnswitch.tracing.observer import trace

from . import roster
from .agreement import WHOLE, judged, model_of, prefill_logits
from .checks import each
from .tiny import Tiny

SCENES = ("left padding", "generate with a cache")


def policy(*rules, attn="standard"):
    return {"attn": attn, "rules": [{"when": when, "use": use} for when, use in rules]}


LANGUAGE = {"role": "language_model"}
# Where FlashAttention cannot serve a class, `math` stands in for it: the rules are the same.
MIXED = {
    "vision standard, language flash": lambda on: policy(
        ({"role": "vision_tower"}, "standard"), (LANGUAGE, on)
    ),
    "layers 0-3 standard": lambda on: policy(({"layers": "0-3"}, "standard"), (LANGUAGE, on)),
    "first layer standard": lambda on: policy(({"layers": "0"}, "standard"), (LANGUAGE, on)),
    "by length": lambda on: policy(({**LANGUAGE, "kv_length": "<=20"}, on)),
    "by padding": lambda on: policy(({"mask": "padding"}, "standard"), (LANGUAGE, on)),
}


def other_than_standard(tiny: Tiny) -> str:
    """FlashAttention where the language model of a class takes it."""
    refusal = roster.REFUSES_FLASH.get(tiny.model_type)
    if refusal is None or "model.language_model" in refusal.parts:
        return "flash"
    return "standard" if "language_model" in refusal.own else "math"


def parts_with_a_reference(tiny: Tiny) -> tuple[str, ...]:
    """A model's own arithmetic has none, so only its other parts are judged."""
    refusal = roster.REFUSES_FLASH.get(tiny.model_type)
    return refusal.parts if refusal and refusal.own else WHOLE


def as_request(given) -> Request:
    from attnswitch.switch import as_request

    return as_request(given, "apply()")


@each(roster.NEAREST, slow=roster.FARTHER)
@pytest.mark.parametrize("kind", MIXED)
def test_mixed_policies(tiny: Tiny, kind: str):
    given = as_request(MIXED[kind](other_than_standard(tiny)))
    judgements = judged(tiny, torch.float32, (given,), SCENES, parts_with_a_reference(tiny))
    assert {key: j for key, j in judgements.items() if not j.passes} == {}
    assert_receipts(tiny, given)


def assert_receipts(tiny: Tiny, given: Request) -> None:
    """Each site ran what was planned there, decided by a rule of the policy or its top line."""
    model = model_of(tiny, torch.float32)
    inputs = tiny.inputs(2, 1, "left", torch.float32)
    with torch.no_grad(), apply(model, given) as plan, trace(model) as watched:
        prefill_logits(model, inputs)
    receipts = [r for r in watched.receipts if r.site in plan.choices]
    assert receipts
    for receipt in receipts:
        possible = plan.choices[receipt.site].possible
        if is_by_hand(model, receipt.site):
            # nn.MultiheadAttention, asked for its weights, multiplies itself: standard attention.
            assert {receipt.family, *(family_of(c.backend) for c in possible)} == {"standard"}
            continue
        assert (receipt.source, receipt.planned) in {(c.source, c.backend) for c in possible}
        # A model's own arithmetic has no operator of its own to be seen by.
        own = receipt.backend is None and receipt.planned == "eager"
        assert own or receipt.backend == receipt.planned


def is_by_hand(model: torch.nn.Module, site: str) -> bool:
    return isinstance(model.get_submodule(site), torch.nn.MultiheadAttention)


def test_a_layer_that_loses_its_mask_is_found(monkeypatch):
    from attnswitch.seams import own_eager

    attend = own_eager.attend
    monkeypatch.setattr(
        own_eager, "attend",
        lambda m, q, k, v, mask, d, s, causal, **kw: attend(m, q, k, v, None, d, s, False, **kw),
    )  # fmt: skip
    given = as_request(policy(({"layers": "0", **LANGUAGE}, "eager"), attn="flash"))
    judgements = judged(roster.NAMED[0], torch.float32, (given,), SCENES, WHOLE)
    assert not all(j.passes for j in judgements.values())
