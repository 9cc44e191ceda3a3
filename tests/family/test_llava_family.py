"""Every LLaVA-family class: off is off, on is on in both towers, and the two agree."""

from __future__ import annotations

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
    STANDARD,
    Seen,
    flash_operators,
    operators_by_role,
)
from .test_undo import state_of
from .tiny import Tiny

TOWERS = ("vision_tower", "language_model")
DTYPES = (torch.float32, torch.bfloat16)


def each(classes: tuple[Tiny, ...]):
    return pytest.mark.parametrize("tiny", classes, ids=lambda tiny: tiny.model_type)


every_class = each(roster.RUNNABLE)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))


def seen_while_running(tiny: Tiny, model) -> Seen:
    """What the profiler sees of `generate` with its cache, and of a forward in inference mode."""
    inputs = tiny.inputs(2, 1, "left", torch.float32)

    def run() -> None:
        model.generate(**inputs, max_new_tokens=2, min_new_tokens=2, do_sample=False)
        with torch.inference_mode():
            model(**inputs)

    return operators_by_role(model, run)


def seen_in_one_forward(tiny: Tiny, model) -> Seen:
    inputs = tiny.inputs(2, 1, "left", torch.float32)
    with torch.inference_mode():
        return operators_by_role(model, lambda: model(**inputs))


def assert_only_standard(tiny: Tiny, seen: Seen) -> None:
    refusal = roster.REFUSES_FLASH.get(tiny.model_type)
    assert flash_operators(seen) == {}
    for role in TOWERS:
        assert seen[role]["ran"] > 0
        # At least once a site: some towers call attention once for each picture.
        if refusal is None or role != refusal.own_role:
            assert seen[role][BLOCKWISE] >= seen[role]["ran"], f"{role} ran {seen[role]}"


def assert_only_flash(seen: Seen, roles: set[str]) -> None:
    for role in roles & (set(seen) | set(TOWERS)):
        assert seen[role]["ran"] > 0
        assert seen[role][FLASH_ON_CPU] >= seen[role]["ran"], f"{role} ran {seen[role]}"
        assert not any(seen[role][name] for name in STANDARD), f"{role} ran {seen[role]}"
    assert FLASH_ON_CPU not in seen.get(OUTSIDE, {})


def roles_in(model, parts: tuple[str, ...]) -> set[str]:
    return {s.role for path, (s, _) in find_sites(model).items() if path.startswith(parts)}


@every_class
def test_standard_runs_no_flash_operator_anywhere(tiny: Tiny):
    model = model_of(tiny, torch.float32)
    with apply(model, "standard"):
        assert_only_standard(tiny, seen_while_running(tiny, model))


@every_class
def test_flash_runs_in_both_towers_and_nothing_else_does(tiny: Tiny):
    """In the parts that take it, where the whole model does not."""
    model, parts = model_of(tiny, torch.float32), roster.parts_for_flash(tiny)
    with switched(model, "flash", parts):
        assert_only_flash(seen_while_running(tiny, model), roles_in(model, parts))


@every_class
@every_dtype
def test_logits_agree(tiny: Tiny, dtype: torch.dtype):
    """With left and right padding, several pictures, batches, and `generate` with its cache."""
    judgements = {}
    for parts, requests in roster.trials(tiny):
        judgements |= judged(tiny, dtype, requests, parts=parts)
    assert {key: j for key, j in judgements.items() if not j.passes} == {}


@each(roster.REFUSING)
def test_flash_is_refused_with_the_reason_and_the_remedy(tiny: Tiny):
    refusal = roster.REFUSES_FLASH[tiny.model_type]
    model, inputs = model_of(tiny, torch.float32), tiny.inputs(2, 1, "left", torch.float32)
    with torch.no_grad():
        logits = prefill_logits(model, inputs)
        before = state_of(model)
        with pytest.raises(UnavailableError) as caught, apply(model, "flash"):
            assert refusal.own_role is None, "refused only when it ran"
            model(**inputs)
        assert state_of(model) == before
        assert torch.equal(prefill_logits(model, inputs), logits)
    for text in refusal.says:
        assert text in str(caught.value)


@every_class
def test_use_switches_a_model_built_before(tiny: Tiny):
    model = model_of(tiny, torch.float32)
    with use("standard"):
        assert_only_standard(tiny, seen_in_one_forward(tiny, model))
    if tiny in roster.NAMED:
        with use("flash"):
            seen = seen_in_one_forward(tiny, model)
        assert_only_flash(seen, set(seen) - {OUTSIDE})


@each(roster.NAMED[:2])
def test_use_switches_what_is_built_and_run_inside(tiny: Tiny):
    with use("standard"):
        assert_only_standard(tiny, seen_while_running(tiny, tiny.model()))
    with use("flash"):
        seen = seen_while_running(tiny, tiny.model())
    assert_only_flash(seen, set(seen) - {OUTSIDE})


def test_every_tower_has_sites():
    for tiny in roster.RUNNABLE:
        roles = {site.role for site, _ in find_sites(model_of(tiny, torch.float32)).values()}
        assert set(TOWERS) <= roles, tiny.model_type
