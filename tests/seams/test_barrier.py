"""The guard stands before every FlashAttention operator, whoever registers it, and whenever."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from contextlib import contextmanager

import pytest
import torch

import attnswitch
from attnswitch import barrier, guard
from attnswitch.errors import ForbiddenError
from attnswitch.operators import OPERATORS, flash_forward_operators, is_flash_forward
from tests.seams.kernels import FLASH, attend, query

HUB = "_flash_attn2_0a1b2c3::fwd"
DEFINED_BY_PACKAGES = [n for n in flash_forward_operators() if not n.startswith("aten::")]


@contextmanager
def package(*names, call=lambda q: q.clone()):
    """Operators as a package registers them when it is imported, with kernels for the CPU."""
    libraries = []
    for name in names:
        namespace, _, short = name.partition("::")
        library = torch.library.Library(namespace, "FRAGMENT")
        library.define(f"{short}(Tensor q) -> Tensor")
        library.impl(short, call, "CPU")
        libraries.append(library)
    try:
        yield
    finally:
        for library in libraries:
            library._destroy()


def operator(name):
    namespace, _, short = name.partition("::")
    return getattr(getattr(torch.ops, namespace), short)


@contextmanager
def another_kernel():
    """What `activate_flash_attention_impl` does: one more kernel for PyTorch's own operator."""
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library.impl(FLASH.removeprefix("aten::"),
                     lambda q, *_, **__: (torch.zeros_like(q), q[..., 0]), "CPU")  # fmt: skip
    try:
        yield
    finally:
        library._destroy()


@pytest.mark.parametrize("name", [*DEFINED_BY_PACKAGES, HUB])
@pytest.mark.parametrize("when", ["before", "after"])
def test_every_operator_of_a_package_is_barred(name, when):
    """Registered before the guard goes up, or while it stands."""
    q = torch.zeros(1, 2, 4, 8)
    if when == "before":
        with package(name):
            assert torch.equal(operator(name)(q), q)
            with attnswitch.forbid("flash"), pytest.raises(ForbiddenError, match=name):
                operator(name)(q)
            assert torch.equal(operator(name)(q), q)
        return
    with attnswitch.forbid("flash"), package(name), pytest.raises(ForbiddenError, match=name):
        operator(name)(q)


def test_every_flash_operator_of_the_table_is_stood_before():
    with attnswitch.forbid("flash"):
        standing = {name.partition(".")[0] for name in barrier._standing}
    wanted = {n for n, ran in OPERATORS.items() if ran.family == "flash" and not ran.backward}
    assert wanted <= standing
    assert not any(OPERATORS[n].family != "flash" for n in standing if n in OPERATORS)
    assert barrier._standing == {}


def test_a_kernel_that_is_registered_later_does_not_stand_before_the_guard():
    with attnswitch.forbid("flash"), another_kernel(), pytest.raises(ForbiddenError, match=FLASH):
        attend(query().detach())


def test_and_is_counted_as_what_it_is():
    with attnswitch.require("flash"), another_kernel():
        before = guard.passed[FLASH]
        assert not attend(query().detach()).any()
        assert guard.passed[FLASH] == before + 1


def test_an_operator_inside_another_one_counts_once():
    """As PyTorch's own on a GPU, where `_scaled_dot_product_flash_attention` calls another one."""
    outer, inner = "_diffusers_flash_attn_3::_flash_attn_forward", "flash_attn_3::fwd"
    with package(inner), package(outer, call=lambda q: operator(inner)(q)):
        guard.prepare()
        try:
            before = guard.passed.copy()
            operator(outer)(torch.zeros(1))
            assert guard.passed - before == {outer: 1}
        finally:
            guard.retire()


def test_names_that_only_look_alike_are_left_alone():
    name = "_flash_attn_helpers::fwd"
    assert not is_flash_forward(name)
    with attnswitch.forbid("flash"), package(name):
        operator(name)(torch.zeros(1))


def test_shapes_alone_may_be_computed():
    """Tracing under the guard is no attention; what it compiles meets the guard when it runs."""
    q = torch.empty(1, 2, 4, 8, device="meta")
    with attnswitch.forbid("flash"):
        assert operator(FLASH)(q, q, q)[0].shape == q.shape


PROGRAM = """
import sys, torch, attnswitch
from torch.nn.functional import scaled_dot_product_attention as attend
from attnswitch.errors import ForbiddenError

torch._inductor.config.cpp_wrapper = True
q = torch.randn(1, 2, 4, 8)
compiled = torch.compile(lambda q: attend(q, q, q))
compiled(q)
with attnswitch.trace(torch.nn.Identity()) as trace:
    compiled(q)
print([r.family for r in trace.receipts])
try:
    with attnswitch.forbid("flash"):
        compiled(q)
except Exception as error:
    print("FlashAttention was about to run" in str(error))
with attnswitch.use("standard"):
    print(torch.allclose(compiled(q), attend(q, q, q), atol=1e-5))
"""


def test_code_that_calls_kernels_past_the_dispatcher_is_stopped_where_it_is_traced():
    """Inductor's cpp_wrapper: no dispatcher is asked while it runs, and nothing sees it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True,
                          env={**os.environ, "KINETO_LOG_LEVEL": "99"}, check=False)  # fmt: skip
    assert done.stdout.splitlines() == ["[]", "True", "True"], done.stderr
