"""The classes made from LLaVA's relatives, and those of another shape: held to the same.

Mixed policies and undo on these classes are slow tests, in the files of those names.
"""

from __future__ import annotations

import json
import re

import pytest
import torch

from attnswitch.errors import UnavailableError
from attnswitch.switch import apply

from . import roster
from .agreement import model_of
from .checks import (
    Obeys,
    assert_flash_is_refused,
    each,
    roles_in,
    seen_in_one_forward,
)
from .observe import FLASH_ON_CPU
from .tiny import Tiny


@each(roster.FARTHER)
class TestFarther(Obeys):
    """The classes made from those, and those of another shape."""


@each(roster.refusing(roster.FARTHER))
def test_flash_is_refused_with_the_reason_and_the_remedy(tiny: Tiny):
    assert_flash_is_refused(tiny)


LEAVING_PARTS = tuple(t for t in roster.refusing(roster.RUNNABLE) if roster.own_parts(t))


@each(LEAVING_PARTS)
def test_the_policy_that_the_refusal_gives_works(tiny: Tiny):
    """The remedy is taken at its word: FlashAttention everywhere else, by the policy it prints."""
    model = model_of(tiny, torch.float32)
    with pytest.raises(UnavailableError) as caught:
        apply(model, "flash")
    found = re.search(
        r"for 'flash' everywhere else, give a policy.*?: (\{.*\})$", str(caught.value)
    )
    assert found, str(caught.value)
    with apply(model, json.loads(found.group(1))) as plan:
        seen = seen_in_one_forward(tiny, model)
    on = tuple(path for path, backend in plan.backends().items() if backend == "flash")
    assert set(plan.backends().values()) == {"flash", "auto"}
    for role in roles_in(model, on):
        assert seen[role][FLASH_ON_CPU] > 0


def test_a_class_that_attends_by_its_own_code_alone_has_nothing_to_switch():
    tiny = next(t for t in roster.FARTHER if t.model_type == "git")
    model = model_of(tiny, torch.float32)
    with apply(model, "standard") as plan:
        assert set(plan.backends().values()) == {"eager"}
    with pytest.raises(UnavailableError):
        apply(model, "flash")
