"""The seven LLaVA classes and their nearest: off is off, on is on in both towers, the two agree.

test_descendants.py holds the others to the same.
"""

from __future__ import annotations

import torch

from attnswitch.sites import find_sites
from attnswitch.switch import use

from . import roster
from .agreement import model_of
from .checks import (
    assert_flash_is_refused,
    assert_flash_obeys,
    assert_logits_agree,
    assert_only_flash,
    assert_only_standard,
    assert_standard_obeys,
    assert_use_obeys,
    each,
    each_dtype,
    seen_while_running,
)
from .observe import OUTSIDE
from .tiny import Tiny

every_class = each(roster.NEAREST)


@every_class
def test_standard_runs_no_flash_operator_anywhere(tiny: Tiny):
    assert_standard_obeys(tiny)


@every_class
def test_flash_runs_in_both_towers_and_nothing_else_does(tiny: Tiny):
    assert_flash_obeys(tiny)


@every_class
@each_dtype
def test_logits_agree(tiny: Tiny, dtype: torch.dtype):
    assert_logits_agree(tiny, dtype)


@every_class
def test_use_switches_a_model_built_before(tiny: Tiny):
    assert_use_obeys(tiny)


@each(roster.refusing(roster.NEAREST))
def test_flash_is_refused_with_the_reason_and_the_remedy(tiny: Tiny):
    assert_flash_is_refused(tiny)


@each(roster.NAMED[:2])
def test_use_switches_what_is_built_and_run_inside(tiny: Tiny):
    with use("standard"):
        assert_only_standard(tiny, seen_while_running(tiny, tiny.model()))
    with use("flash"):
        seen = seen_while_running(tiny, tiny.model())
    assert_only_flash(tiny, seen, set(seen) - {OUTSIDE})


def test_every_tower_has_sites():
    for tiny in roster.RUNNABLE:
        roles = {site.role for site, _ in find_sites(model_of(tiny, torch.float32)).values()}
        assert set(roster.towers_of(tiny)) <= roles, tiny.model_type
