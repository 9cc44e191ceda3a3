"""What every class is held to, as plain assertions: off is off, on is on, and the two agree."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from attnswitch.errors import UnavailableError
from attnswitch.sites import find_sites
from attnswitch.switch import apply, use

from . import roster
from .agreement import judged, model_of, prefill_logits, switched
from .observe import (
    BLOCKWISE,
    FLASH_ON_CPU,
    OUTSIDE,
    SOFTMAX,
    STANDARD,
    Seen,
    flash_operators,
    operators_by_role,
)
from .tiny import Tiny


def each(classes: tuple[Tiny, ...], slow: tuple[Tiny, ...] = ()) -> pytest.MarkDecorator:
    """One test for each class; those in `slow` run with the slow tests."""
    later = [pytest.param(tiny, marks=pytest.mark.slow) for tiny in slow]
    return pytest.mark.parametrize("tiny", [*classes, *later], ids=lambda tiny: tiny.model_type)


_each_dtype = pytest.mark.parametrize(
    "dtype", (torch.float32, torch.bfloat16), ids=lambda d: str(d).removeprefix("torch.")
)


def assert_standard_obeys(tiny: Tiny) -> None:
    """Under `standard`, `generate` and a forward in inference mode run no flash operator."""
    model = model_of(tiny, torch.float32)
    with apply(model, "standard"):
        assert_only_standard(tiny, seen_while_running(tiny, model))


def assert_flash_obeys(tiny: Tiny) -> None:
    """Under `flash` nothing else runs in either tower, in the parts that take it."""
    model, parts = model_of(tiny, torch.float32), roster.parts_for_flash(tiny)
    with switched(model, "flash", parts):
        assert_only_flash(tiny, seen_while_running(tiny, model), roles_in(model, parts))


def assert_use_obeys(tiny: Tiny) -> None:
    """`use` reaches a model built before it; `flash` where no part of the class refuses."""
    model = model_of(tiny, torch.float32)
    with use("standard"):
        assert_only_standard(tiny, seen_in_one_forward(tiny, model))
    if tiny.model_type not in roster.REFUSES_FLASH:
        with use("flash"):
            seen = seen_in_one_forward(tiny, model)
        assert_only_flash(tiny, seen, set(seen) - {OUTSIDE})


def assert_logits_agree(tiny: Tiny, dtype: torch.dtype) -> None:
    """Left and right padding, several pictures, batches, `generate` with its cache: by the rule."""
    judgements = {}
    for parts, requests in roster.trials(tiny):
        judgements |= judged(tiny, dtype, requests, parts=parts)
    assert {key: j for key, j in judgements.items() if not j.passes} == {}


def assert_flash_is_refused(tiny: Tiny) -> None:
    """With the reason and the remedy, and the model is left as it was."""
    from .test_undo import state_of

    refusal = roster.REFUSES_FLASH[tiny.model_type]
    model, inputs = model_of(tiny, torch.float32), tiny.inputs(2, 1, "left", torch.float32)
    with torch.no_grad():
        logits = prefill_logits(model, inputs)
        before = state_of(model)
        with pytest.raises(UnavailableError) as caught, apply(model, "flash"):
            assert not refusal.own, "refused only when it ran"
            model(**inputs)
        assert state_of(model) == before
        assert torch.equal(prefill_logits(model, inputs), logits)
    for text in refusal.says:
        assert text in str(caught.value)


def seen_while_running(tiny: Tiny, model: Any) -> Seen:
    """What the profiler sees of `generate` with its cache, and of a forward in inference mode."""
    inputs = tiny.inputs(2, 1, "left", torch.float32)

    def run() -> None:
        model.generate(**inputs, max_new_tokens=2, min_new_tokens=2, do_sample=False)
        with torch.inference_mode():
            model(**inputs)

    return operators_by_role(model, run)


def seen_in_one_forward(tiny: Tiny, model: Any) -> Seen:
    inputs = tiny.inputs(2, 1, "left", torch.float32)
    with torch.inference_mode():
        return operators_by_role(model, lambda: model(**inputs))


def assert_only_standard(tiny: Tiny, seen: Seen) -> None:
    assert flash_operators(seen) == {}
    for role in roster.towers_of(tiny):
        assert seen[role]["ran"] > 0
        # At least once a site: some towers call attention once for each picture.
        if role not in roster.own_roles(tiny):
            assert seen[role][BLOCKWISE] >= seen[role]["ran"], f"{role} ran {seen[role]}"


def assert_only_flash(tiny: Tiny, seen: Seen, roles: set[str]) -> None:
    for role in roles & (set(seen) | set(roster.towers_of(tiny))):
        ran = seen[role]["ran"]
        assert ran > 0
        assert seen[role][FLASH_ON_CPU] >= ran, f"{role} ran {seen[role]}"
        others = {name: seen[role][name] for name in STANDARD if seen[role][name]}
        if tiny.model_type in roster.WEIGHS_KEYS and role == "language_model":
            assert others.pop(SOFTMAX) == ran, f"{role} ran {seen[role]}"
        assert not others, f"{role} ran {seen[role]}"
    assert FLASH_ON_CPU not in seen.get(OUTSIDE, {})


def roles_in(model: Any, parts: tuple[str, ...]) -> set[str]:
    """The roles of the sites inside `parts`."""
    return {s.role for path, (s, _) in find_sites(model).items() if path.startswith(parts)}


class Obeys:
    """What every class is held to; a test class of these is parametrized by `each`."""

    def test_standard_runs_no_flash_operator_anywhere(self, tiny: Tiny):
        assert_standard_obeys(tiny)

    def test_flash_runs_in_both_towers_and_nothing_else_does(self, tiny: Tiny):
        assert_flash_obeys(tiny)

    @_each_dtype
    def test_logits_agree(self, tiny: Tiny, dtype: torch.dtype):
        assert_logits_agree(tiny, dtype)

    def test_use_switches_a_model_built_before(self, tiny: Tiny):
        assert_use_obeys(tiny)
