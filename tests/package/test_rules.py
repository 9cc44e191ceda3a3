"""Rules at flash_attn's own functions: what they leave to the package is the package's."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec

import pytest
import torch

import attnswitch
from attnswitch.errors import UnavailableError
from attnswitch.seams.package.attention.call import AttentionCall, Packing
from attnswitch.seams.package.placing import replacing

LONG = {"rules": [{"when": {"kv_length": ">5"}, "use": "standard"}]}


@pytest.fixture
def package(monkeypatch):
    """A flash_attn that works, and counts its calls."""
    module = types.ModuleType("flash_attn")
    module.__spec__ = ModuleSpec("flash_attn", None)
    calls = []

    def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False):
        calls.append(tuple(k.shape))
        return q

    module.flash_attn_func = flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    yield module, calls
    replacing.restore()


def test_short_calls_are_the_package_s_and_long_ones_ours(package):
    module, calls = package
    replacing.replace("flash_attn")
    short, long = torch.randn(1, 4, 2, 8), torch.randn(1, 6, 2, 8)
    with attnswitch.use({**LONG, "attn": "auto"}):
        assert module.flash_attn_func(short, short, short) is short
        assert module.flash_attn_func(long, long, long) is not long
    assert calls == [(1, 4, 2, 8)]


def test_a_stand_in_has_no_package_to_leave_a_call_to():
    from attnswitch.seams.package.attention.run import run

    short = torch.randn(1, 4, 2, 8)
    with attnswitch.use({**LONG, "attn": "auto"}), pytest.raises(UnavailableError) as caught:
        run(AttentionCall("flash_attn.flash_attn_func", short, short, short))
    assert "use() asking for 'auto' is in force" in str(caught.value)


def test_packed_calls_count_as_their_longest_sequence():
    rows = torch.randn(9, 2, 8)
    packing = Packing((0, 3, 9), (0, 2, 9))
    call = AttentionCall("f", rows, rows, rows, packing=packing).as_rules_see_it()
    assert (call.query.shape, call.key.shape) == ((2, 2, 6, 8), (2, 2, 7, 8))
