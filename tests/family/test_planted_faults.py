"""The assertion of agreement can fail: wrong backends are caught."""

from __future__ import annotations

import pytest
import torch

from attnswitch import backends
from attnswitch.backends.exact import yardstick

from .agreement import judged
from .named import NAMED

LLAVA = NAMED[0]


def attends_to_the_future(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **kw):
    """Every row sees what the last row sees."""
    if attn_mask is not None:
        attn_mask = attn_mask[..., -1:, :]
    return yardstick(query, key, value, attn_mask, dropout_p, False, **kw)


def ignores_padding(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **kw):
    """Rows see everything before them, padding too."""
    masked, rows = attn_mask is not None, query.shape[-2]
    is_causal = is_causal or (masked and rows > 1)
    return yardstick(query, key, value, None, dropout_p, is_causal, **kw)


def scaled_by_five_percent(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **kw):
    """An error of scale."""
    return 1.05 * yardstick(query, key, value, attn_mask, dropout_p, is_causal, **kw)


# Right padding changes no row that counts when it is ignored: causality hides it already.
FAULTS = [
    (attends_to_the_future, "one prompt, one picture"),
    (attends_to_the_future, "left padding"),
    (attends_to_the_future, "right padding"),
    (ignores_padding, "left padding"),
    (ignores_padding, "several pictures"),
    (ignores_padding, "generate with a cache"),
    (scaled_by_five_percent, "one prompt, one picture"),
]


@pytest.mark.parametrize(("fault", "scene"), FAULTS, ids=lambda x: getattr(x, "__name__", x))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_wrong_backend_is_caught(fault, scene, dtype):
    honest = judged(LLAVA, dtype, ("standard",), (scene,))
    assert all(judgement.passes for judgement in honest.values())
    backends.replace_backend("blockwise", fault)
    try:
        caught = judged(LLAVA, dtype, ("standard",), (scene,))
    finally:
        backends.replace_backend("blockwise", None)
    assert not any(judgement.passes for judgement in caught.values())
