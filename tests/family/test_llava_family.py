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
    Obeys,
    assert_flash_is_refused,
    assert_only_flash,
    assert_only_standard,
    each,
    seen_while_running,
)
from .observe import OUTSIDE
from .tiny import Tiny


@each(roster.NEAREST)
class TestNearest(Obeys):
    """The seven, and the classes built the same way."""


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
