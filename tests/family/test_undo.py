"""`plan.undo()` leaves a model exactly as it was."""

from __future__ import annotations

from typing import Any

import torch

from attnswitch.switch import apply

from . import roster
from .agreement import model_of, prefill_logits
from .checks import each
from .named import NAMED
from .tiny import Tiny


def state_of(model: Any) -> dict[str, Any]:
    """Everything that switching could have left behind on a model or in transformers' table."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    modules = dict(model.named_modules())
    return {
        "attributes": {path: sorted(vars(module)) for path, module in modules.items()},
        "hooks": {
            path: (len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m))
            for path, m in modules.items()
        },
        "names": {
            path: m.config._attn_implementation
            for path, m in modules.items()
            if hasattr(getattr(m, "config", None), "_attn_implementation")
        },
        # In words: timm leaves functions there, and a copy of one is not equal to it.
        "config": repr(model.config.to_dict()),
        "table": {name: id(ALL_ATTENTION_FUNCTIONS[name]) for name in ("sdpa", "flex_attention")},
    }


def every_request(tiny: Tiny) -> tuple[str, ...]:
    refuses = tiny.model_type in roster.REFUSES_FLASH
    return ("standard",) if refuses else ("standard", "flash")


def assert_undone(tiny: Tiny, model: Any) -> None:
    inputs = tiny.inputs(2, 1, "left", torch.float32)
    with torch.no_grad():
        # The first forward lets transformers install hooks of its own, so it comes first.
        logits = prefill_logits(model, inputs)
        before = state_of(model)
        for request in every_request(tiny):
            plan = apply(model, request)
            assert state_of(model) != before
            prefill_logits(model, inputs)
            plan.undo()
            plan.undo()
            assert state_of(model) == before
        assert torch.equal(prefill_logits(model, inputs), logits)


@each(roster.NEAREST, slow=roster.FARTHER)
def test_undo_restores_everything(tiny: Tiny):
    assert_undone(tiny, model_of(tiny, torch.float32))


@each(NAMED[:3])
def test_undo_restores_a_model_built_with_eager(tiny: Tiny):
    model = tiny.model()
    model.set_attn_implementation("eager")
    assert_undone(tiny, model)
