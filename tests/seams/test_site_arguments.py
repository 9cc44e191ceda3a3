"""Arguments beside q, k, v and mask that transformers' models give to their attention function."""

from __future__ import annotations

import pytest
import torch

from attnswitch import intent
from attnswitch.errors import UnavailableError
from attnswitch.seams.interface import attend_at_site
from attnswitch.types import Choice


class Module(torch.nn.Module):
    """An attention module that was switched."""

    def __init__(self, backend: str, is_causal: bool):
        super().__init__()
        self.is_causal = is_causal
        self.__dict__[intent.MODULE_ATTRIBUTE] = Choice(backend, backend, "apply()")


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


PADDING = torch.ones(2, 1, 5, 7, dtype=torch.bool)
PADDING[1, ..., :3] = False
MASKS = {
    "none": None,
    "padding": PADDING,
    "additive": torch.zeros(2, 1, 5, 7).masked_fill(~PADDING, -torch.inf),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backend", ["blockwise", "math", "flash", "reference"])
def test_a_bias_by_position_is_added_to_the_scores(backend, causal, name):
    """Inkling's. As transformers' own function does it; longer keys are a static cache's tail."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    q, k, v, bias = drawn(2, 4, 5, 8), drawn(2, 4, 7, 8), drawn(2, 4, 7, 8), drawn(2, 4, 5, 7)
    given = {"scaling": 0.3, "position_bias": bias}
    module, mask = Module(backend, causal), MASKS[name]
    ours, _ = attend_at_site(module, q, k, v, mask, **given)
    theirs, _ = sdpa_attention_forward(module, q, k, v, mask, **given)
    torch.testing.assert_close(ours, theirs)
    without, _ = attend_at_site(module, q, k, v, mask, scaling=0.3)
    assert not torch.allclose(ours, without)


@pytest.mark.parametrize(
    ("argument", "remedy"),
    [("softcap", "Ask for 'auto' or 'eager'"), ("cache", "attnswitch.use()")],
)
def test_what_is_not_implemented_is_refused(argument, remedy):
    tensors = [drawn(1, 2, 3, 8)] * 3
    with pytest.raises(UnavailableError, match=f"passes '{argument}' to its attention") as caught:
        attend_at_site(Module("blockwise", True), *tensors, None, **{argument: object()})
    assert remedy in str(caught.value)
