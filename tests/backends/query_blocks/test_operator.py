"""The registered operator: compile, fake and meta tensors, autocast, checkpointing, profiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from attnswitch.backends import blockwise
from attnswitch.errors import InputError

from .checks import check_forward, inputs


def leaves(**shape: int) -> list[torch.Tensor]:
    return [t.requires_grad_() for t in inputs(**shape)]


def gradients(out: torch.Tensor, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(out.square().sum(), tensors)


def test_opcheck() -> None:
    mask = torch.rand(2, 1, 37, 37) > 0.3
    settings = (0.0, True, False, 0.3, 0.0, 5, -1, 0, False, True)
    args = (*leaves(), mask, None, None, None, *settings)
    results = torch.library.opcheck(torch.ops.attnswitch.blockwise.default, args)
    assert set(results.values()) == {"SUCCESS"}


def test_compiles_without_graph_breaks() -> None:
    tensors, mask = leaves(), torch.rand(2, 1, 37, 37) > 0.3

    def model(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return blockwise(q * 2.0, k, v, mask) + 1.0

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*tensors), model(*tensors))
    for a, b in zip(
        gradients(compiled(*tensors), tensors), gradients(model(*tensors), tensors), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_compiled_graph_holds_one_call_whatever_the_length() -> None:
    graphs: list[torch.fx.GraphModule] = []

    def capture(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(
        lambda q, k, v: blockwise(q, k, v, is_causal=True, block_rows=4),
        fullgraph=True, dynamic=True, backend=capture,
    )  # fmt: skip
    for rows in (11, 40, 90):
        check_forward(lambda *t, enable_gqa, is_causal: compiled(*t), inputs(rows=rows),
                      is_causal=True)  # fmt: skip
    assert len(graphs) == 1
    calls = [node for node in graphs[0].graph.nodes if "attnswitch" in str(node.target)]
    assert len(calls) == 1


def test_meta_and_fake_tensors_have_the_right_shape_and_layout() -> None:
    real = blockwise(*inputs(groups=2, value_width=5), enable_gqa=True)
    meta = blockwise(*(t.to("meta") for t in inputs(groups=2, value_width=5)), enable_gqa=True)
    with FakeTensorMode():
        fake_inputs = [torch.empty(t.shape) for t in inputs(groups=2, value_width=5)]
        fake = blockwise(*fake_inputs, enable_gqa=True)
    assert real.shape == meta.shape == fake.shape
    assert real.stride() == meta.stride() == fake.stride()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_lowers_inputs_as_it_does_for_sdpa_and_nothing_inside(dtype: torch.dtype) -> None:
    tensors = leaves(rows=60)
    with torch.autocast("cpu", dtype=dtype):
        out = blockwise(*tensors)
        lowered = blockwise(*(t.to(dtype) for t in tensors))
    assert out.dtype == dtype
    torch.testing.assert_close(out, lowered, rtol=0, atol=0)
    check_forward(lambda *t, enable_gqa: lowered, [t.detach().to(dtype) for t in tensors])
    out.float().sum().backward()
    assert tensors[0].grad is not None
    assert tensors[0].grad.dtype == torch.float32


def test_inference_mode() -> None:
    tensors, mask = inputs(), torch.ones(37, 37, dtype=torch.bool).tril()
    expected = blockwise(*tensors, mask)
    with torch.inference_mode():
        made_outside = blockwise(*tensors, mask)
        made_inside = blockwise(*(t.clone() for t in tensors), mask.clone())
    assert torch.equal(made_outside, expected)
    assert torch.equal(made_inside, expected)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_repeats_dropout(reentrant: bool) -> None:
    tensors = leaves()

    def attend(*args: torch.Tensor) -> torch.Tensor:
        return blockwise(*args, dropout_p=0.4)

    results = []
    for call in (attend, lambda *a: checkpoint(attend, *a, use_reentrant=reentrant)):
        torch.manual_seed(5)
        for tensor in tensors:
            tensor.grad = None
        call(*tensors).square().sum().backward()
        results.append([t.grad for t in tensors])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_a_second_derivative_is_an_error() -> None:
    tensors = leaves(rows=5)
    (first,) = torch.autograd.grad(blockwise(*tensors).sum(), tensors[0], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        first.square().sum().backward()


def test_the_same_inputs_give_the_same_bits() -> None:
    tensors = leaves(rows=400)
    first = gradients(blockwise(*tensors, is_causal=True), tensors)
    for _ in range(3):
        again = gradients(blockwise(*tensors, is_causal=True), tensors)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_profiler_sees_the_operator_and_no_attention_kernel_of_pytorch() -> None:
    tensors = leaves(rows=40)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        blockwise(*tensors, is_causal=True).sum().backward()
    names = {event.key for event in profile.key_averages()}
    assert {"attnswitch::blockwise", "attnswitch::blockwise_backward"} <= names
    assert not [name for name in names if "scaled_dot_product" in name or "flash" in name]


def test_shapes_with_fewer_and_more_dimensions() -> None:
    query, key, value = inputs(batch=1)
    expected = blockwise(query, key, value)
    three = blockwise(query[0], key[0], value[0])
    assert torch.equal(three, expected[0])
    five = blockwise(*(t.unsqueeze(0).expand(3, -1, -1, -1, -1) for t in (query, key, value)))
    assert five.shape == (3, *expected.shape)
    assert torch.equal(five[2], expected)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"groups": 3}, "divide the query heads"),
        ({"mask": (2, 37, 36)}, "does not broadcast"),
        ({"dropout_p": 1.5}, "is a probability"),
        ({"causal_alignment": "left"}, "'top-left' or 'bottom-right'"),
        ({"alibi_slopes": torch.ones(3)}, "one slope to each of 4 heads"),
    ],
)
def test_what_does_not_go_together_is_named(change: dict, words: str) -> None:
    tensors = inputs(groups=change.pop("groups", None))
    mask = change.pop("mask", None)
    mask = None if mask is None else torch.ones(mask, dtype=torch.bool)
    with pytest.raises(InputError, match=words):
        blockwise(*tensors, mask, enable_gqa=True, **change)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_forked_child_starts_its_own_workers() -> None:
    program = """
import os, torch
import attnswitch.backends.query_blocks.block_size as block_size
from attnswitch.backends import blockwise
block_size.SHARED_FLOPS = 0
t = torch.randn(1, 4, 50, 8)
expected = blockwise(t, t, t)
child = os.fork()
if child == 0:
    torch.set_num_threads(1)  # PyTorch's own threads do not survive a fork either
    os._exit(0 if torch.allclose(blockwise(t, t, t), expected, atol=1e-6) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
