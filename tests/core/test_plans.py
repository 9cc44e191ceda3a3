"""Plans of `apply` over one another: the newest is in force, and undoing any leaves the others."""

from __future__ import annotations

import copy
import gc
import itertools
import types

import pytest
import torch

import attnswitch
from attnswitch import guard
from attnswitch.errors import ForbiddenError, UnavailableError
from attnswitch.seams import overlay
from tests.core import tiny_llava
from tests.core.observer import BLOCKWISE, FLASH, MATH, attention_operators

SITES = 5  # 3 in the vision tower, 2 in the language model
RUNS = {"standard": {BLOCKWISE: SITES}, "flash": {FLASH: SITES}, "math": {MATH: SITES}}


class ByHand(torch.nn.Module):
    """A model whose forward calls FlashAttention's operator itself, beside an attention module."""

    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, hidden):
        out, _ = self.attention(hidden, hidden, hidden, need_weights=False)
        q = out[:, None]
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)[0]


@pytest.fixture
def model():
    return tiny_llava.build()


def seen(model):
    with torch.no_grad():
        return attention_operators(lambda: model(**tiny_llava.inputs()))


def left_on(model):
    """What plans leave on modules and in configs."""
    return {
        path: (
            sorted(vars(module)),
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            getattr(getattr(module, "config", None), "_attn_implementation", None),
        )
        for path, module in model.named_modules()
    }


@pytest.mark.parametrize("words", itertools.permutations(RUNS, 2))
def test_the_newest_is_in_force_and_then_the_older(model, words):
    with attnswitch.apply(model, words[0]):
        with attnswitch.apply(model, words[1]):
            assert seen(model) == RUNS[words[1]]
        assert seen(model) == RUNS[words[0]]
    assert seen(model) == RUNS["flash"]


def test_the_older_ones_guard_stands_again(model):
    q = torch.randn(1, 2, 4, 8)
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    model.register_forward_hook(lambda *_: attend(q, q, q) and None)
    plan = attnswitch.apply(model, "standard")
    newer = attnswitch.apply(model, "flash")
    seen(model)
    newer.undo()
    with pytest.raises(ForbiddenError, match="apply\\(\\) asking for 'standard'"):
        seen(model)
    plan.undo()


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_undone_in_any_order(model, order):
    seen(model)  # transformers hooks a model when it first runs
    before = left_on(model)
    words = ("standard", "math", "flash")
    plans = {index: attnswitch.apply(model, word) for index, word in enumerate(words)}
    for index in order:
        plans.pop(index).undo()
        assert seen(model) == RUNS[words[max(plans)] if plans else "flash"]
    assert left_on(model) == before


def test_a_plan_for_a_part_of_a_switched_model(model):
    with attnswitch.apply(model, "standard"):
        with attnswitch.apply(model.model.vision_tower, "flash"):
            assert seen(model) == {FLASH: 3, BLOCKWISE: 2}
        assert seen(model) == {BLOCKWISE: 5}


def test_a_plan_for_the_whole_of_a_model_with_a_switched_part(model):
    part = attnswitch.apply(model.model.vision_tower, "standard")
    whole = attnswitch.apply(model, "flash")
    assert seen(model) == {FLASH: 5}
    whole.undo()
    assert seen(model) == {BLOCKWISE: 3, FLASH: 2}
    part.undo()


@pytest.mark.parametrize("written", ["eager", "sdpa"])
def test_auto_over_an_older_plan_is_what_the_project_wrote(written):
    model = tiny_llava.build(attn_implementation=written)
    expected = {} if written == "eager" else {FLASH: SITES}
    with attnswitch.apply(model, "standard"):
        with attnswitch.apply(model, "auto"):
            assert seen(model) == expected
        assert seen(model) == {BLOCKWISE: SITES}
        tower_only = {
            "attn": "math",
            "rules": [{"when": {"role": "vision_tower"}, "use": "auto"}],
        }
        with attnswitch.apply(model, tower_only):
            assert seen(model) == {**({} if written == "eager" else {FLASH: 3}), MATH: 2}
    assert seen(model) == expected


def test_modules_that_reach_attention_through_the_operator():
    model, hidden = ByHand().eval(), torch.randn(2, 8, 16)

    def operators():
        with torch.no_grad():
            return attention_operators(lambda: model(hidden))

    standard = attnswitch.apply(model, "standard")
    flash = attnswitch.apply(model, "flash")
    assert operators() == {FLASH: 2}
    with attnswitch.apply(model.attention, "math"):
        assert operators() == {MATH: 1, FLASH: 1}
    flash.undo()
    with pytest.raises(ForbiddenError):
        operators()
    standard.undo()


def test_a_copy_of_a_switched_model_obeys_the_plan_and_a_newer_one(model):
    with attnswitch.apply(model, "standard"):
        other = copy.deepcopy(model)
        assert seen(other) == {BLOCKWISE: SITES}
        with attnswitch.apply(other, "flash"):
            assert seen(other) == {FLASH: SITES}
            assert seen(model) == {BLOCKWISE: SITES}
        assert seen(other) == {BLOCKWISE: SITES}


def test_a_torch_that_cannot_let_one_model_pass_says_so(model, monkeypatch):
    with attnswitch.apply(model, "standard"):
        before = left_on(model)
        monkeypatch.setattr(guard, "can_pass_through", lambda: False)
        with pytest.raises(UnavailableError, match="needs torch") as refused:
            attnswitch.apply(model, "flash")
        assert "Call undo() of the older plan first" in str(refused.value)
        monkeypatch.undo()
        assert left_on(model) == before
        assert seen(model) == {BLOCKWISE: SITES}


def test_a_plan_outlives_its_model():
    plan = attnswitch.apply(ByHand(), "standard")
    gc.collect()
    other = ByHand().eval()
    newer = attnswitch.apply(other, "math")
    plan.undo()
    with torch.no_grad():
        assert attention_operators(lambda: other.attention(*[torch.randn(2, 8, 16)] * 3,
                                   need_weights=False)) == {MATH: 1}  # fmt: skip
    newer.undo()


class Target:
    pass


@pytest.mark.parametrize("kind", [Target, types.SimpleNamespace])
@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_layers_are_taken_away_in_any_order(order, kind):
    target, known = kind(), len(overlay._all)
    target.name = "own"
    backs = {index: overlay.put(target, "name", index) for index in range(3)}
    for index in order:
        assert overlay.beneath(target, "name") == "own"
        backs.pop(index)()
        assert target.name == (max(backs) if backs else "own")
    assert len(overlay._all) == known


def test_what_lies_beneath_is_known_where_nobody_kept_the_way_back():
    """`apply(model, "standard")`, its plan dropped, and then `apply(model, "auto")`."""
    target = Target()
    target.name = "own"
    overlay.put(target, "name", 1)
    gc.collect()
    assert overlay.beneath(target, "name") == "own"
    back = overlay.put(target, "name", 2)
    assert overlay.beneath(target, "name") == "own"
    back()
    assert target.name == 1


def test_the_way_back_from_an_object_that_is_gone():
    target, known = Target(), len(overlay._all)
    back = overlay.put(target, "name", 1)
    key = id(target), "name"
    del target
    gc.collect()
    new = Target()  # at the same address, as it may be
    overlay._all[key] = over = overlay._Layers("own", lambda: new, [])
    back()
    assert overlay._all.pop(key) is over and len(overlay._all) == known


def test_nothing_is_kept_of_an_object_that_is_gone():
    target, known = Target(), len(overlay._all)
    overlay.put(target, "name", 1)
    assert len(overlay._all) == known + 1
    del target
    gc.collect()
    assert len(overlay._all) == known


def test_layers_over_an_attribute_that_was_not_set():
    target = Target()
    back = overlay.put(target, "name", None)
    assert vars(target) == {"name": None} and overlay.beneath(target, "name") is None
    back()
    assert vars(target) == {}
