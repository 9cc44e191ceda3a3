"""What cannot be done is an error that names it; the text is part of the behaviour."""

from __future__ import annotations

import pytest
import torch

from attnswitch.errors import ForbiddenError, InputError, UnavailableError
from attnswitch.seams.package.flash_attn_api.dense import flash_attn_func
from attnswitch.switch import use

from .agreement import under

Q = torch.randn(1, 3, 2, 8)


@pytest.mark.parametrize(
    ("backend", "asked", "message"),
    [
        ("flash", {"softcap": 5.0}, r"'flash' cannot take .*no softcap \(asked for: 5.0\)"),
        ("flash", {"dropout_p": 0.1}, "no dropout on a CPU"),
        ("math", {"softcap": 5.0}, "'math' cannot take .*no softcap"),
        ("reference", {"dropout_p": 0.1}, "no dropout: its result would not be one number"),
        ("efficient", {}, "runs on cuda, not on cpu"),
        ("eager", {}, "has no attention code of its own"),
        ("auto", {}, "asking for 'auto' is in force"),
        ("flash_attn", {}, "the package itself does not work here"),
        ("blockwise", {"dropout_p": 0.1, "return_attn_probs": True}, "S_dmask"),
    ],
)
def test_what_a_backend_cannot_do_is_named(backend, asked, message):
    with under(backend), pytest.raises(UnavailableError, match=message):
        flash_attn_func(Q, Q, Q, **asked)


def test_without_a_request_there_is_nothing_to_stand_in_with():
    with pytest.raises(UnavailableError, match=r"no request is in force.*ATTNSWITCH=standard"):
        flash_attn_func(Q, Q, Q)


@pytest.mark.parametrize(
    ("tensors", "asked", "message"),
    [
        ((Q, Q[0], Q[0]), {}, r"key must have 4 dimensions .*not shape \(3, 2, 8\)"),
        ((Q, Q[:, :, :1], Q), {}, "key and value differ"),
        ((Q[:, :, :1], Q, Q), {}, "1 query heads are no multiple of 2 key-value heads"),
        ((Q, Q.double(), Q.double()), {}, "differ in dtype"),
        ((Q, Q.repeat(2, 1, 1, 1), Q.repeat(2, 1, 1, 1)), {}, "batch sizes differ"),
        ((Q, Q, Q), {"window_size": True}, "window_size is a pair"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(tensors, asked, message):
    with under("blockwise"), pytest.raises(InputError, match=message):
        flash_attn_func(*tensors, **asked)


def test_standard_holds_with_the_guard_up_and_flash_is_stopped_by_it():
    with use("standard"):
        assert flash_attn_func(Q, Q, Q).shape == Q.shape
        with under("flash"), pytest.raises(ForbiddenError):
            flash_attn_func(Q, Q, Q)


def test_flash_runs_pytorchs_flash_kernel_and_standard_does_not():
    def kernels(request: str) -> set[str]:
        with use(request), torch.profiler.profile() as profile:
            flash_attn_func(Q, Q, Q, causal=True, window_size=(1, 0))
        return {event.key for event in profile.key_averages()}

    flash = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert flash in kernels("flash")
    assert flash not in kernels("standard")
    assert "attnswitch::blockwise" in kernels("standard")
