"""The reference of propagated error computes more precisely and gives the model back untouched."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from attnswitch.comparison.judging import last_logits
from attnswitch.verification.answering import REFERENCE, YARDSTICK
from attnswitch.verification.precise import one_precision_up, upcast
from attnswitch.verification.rule import judge
from tests.core import tiny_llava


@pytest.mark.parametrize(
    ("dtype", "up"), [(torch.bfloat16, torch.float32), (torch.float32, torch.float64)]
)
def test_the_model_comes_back_untouched(dtype, up):
    model = tiny_llava.build().to(dtype)
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    before = {name: (t.data_ptr(), t.dtype, t.clone()) for name, t in tensors.items()}
    with pytest.raises(ZeroDivisionError), one_precision_up(model) as used:
        assert used == up == model.dtype
        raise ZeroDivisionError
    for name, tensor in tensors.items():
        pointer, kind, value = before[name]
        assert (tensor.data_ptr(), tensor.dtype) == (pointer, kind)
        assert torch.equal(tensor, value)


def test_healthy_half_precision_passes_and_a_small_fault_does_not():
    """With the rest left in bf16 the yardstick's error would be nothing, and flash would fail."""
    model = tiny_llava.build().to(torch.bfloat16)
    inputs = upcast(tiny_llava.inputs(), torch.bfloat16)

    def logits(request, given):
        with attnswitch.apply(model, request):
            return last_logits(model, given)

    with one_precision_up(model) as dtype:
        reference = logits(REFERENCE, upcast(inputs, dtype))
    yardstick = logits(YARDSTICK, inputs)
    assert judge(yardstick, yardstick, reference).error.rms > 0
    for request in ("flash", "standard", "math"):
        assert judge(logits(request, inputs), yardstick, reference).passes, request

    from attnswitch.backends import exact, replace_backend

    def nearly(query, *args, **kwargs):
        return exact.yardstick(query, *args, **kwargs) * 1.2

    replace_backend("math", nearly)
    assert not judge(logits("math", inputs), yardstick, reference).passes
