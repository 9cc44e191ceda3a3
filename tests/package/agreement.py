"""The project's rule of agreement, applied to outputs, gradients and log-sum-exps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from attnswitch import intent
from attnswitch.types import Choice
from attnswitch.verification.rule import judge

Plainly = Callable[[torch.dtype, Sequence[torch.Tensor]], tuple[torch.Tensor, torch.Tensor]]

UNITS = {torch.float64: 128, torch.float32: 128, torch.float16: 4, torch.bfloat16: 4}


class under:
    """A request in force on this thread."""

    def __init__(self, backend: str):
        self.choice = Choice(backend, backend, "a test")

    def __enter__(self) -> None:
        intent.push_thread(self.choice)

    def __exit__(self, *_: object) -> None:
        intent.pop_thread()


def passes(candidate: torch.Tensor, yardstick: torch.Tensor, reference: torch.Tensor) -> bool:
    """Whether the candidate agrees by the rule, or is off by roundings of its dtype alone.

    The rule compares two errors, and the yardstick's can be zero by chance in tensors as small as
    these: some units in the last place of the largest number are always allowed. PyTorch's kernels
    take exp() by a polynomial, which costs up to 20 of them in fp32, and a gradient that is zero by
    cancellation keeps the rounding of its terms.
    """
    if candidate.numel() == 0:
        return True
    verdict = judge(candidate, yardstick, reference)
    largest = reference[torch.isfinite(reference)].abs()
    units = torch.finfo(candidate.dtype).eps * max(
        largest.max().item() if largest.numel() else 0, 1
    )
    return verdict.passes or (
        verdict.finite and verdict.error.max <= UNITS[candidate.dtype] * units
    )


def assert_agrees(
    computed: tuple[torch.Tensor, torch.Tensor | None],
    inputs: Sequence[torch.Tensor],
    plainly: Plainly,
    *,
    gradients: bool = True,
) -> None:
    """Hold an output, its log-sum-exp and its gradients against `plainly` in float64.

    `plainly(dtype, inputs)` computes (output, log-sum-exp) with every step in `dtype`.
    """
    out, lse = computed
    exact = [t.detach().double().requires_grad_() for t in inputs]
    rough = [t.detach().clone().requires_grad_() for t in inputs]
    reference, reference_lse = plainly(torch.float64, exact)
    yardstick, yardstick_lse = plainly(torch.float32, rough)
    assert out.dtype == inputs[0].dtype
    assert passes(out, yardstick.to(out.dtype), reference), "output"
    if lse is not None:
        assert lse.dtype == torch.float32 and not lse.requires_grad
        assert passes(lse, yardstick_lse, reference_lse), "log-sum-exp"
    if not gradients or out.numel() == 0:
        return
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).to(out.dtype)
    found = torch.autograd.grad(out, inputs, upstream, allow_unused=True)
    wanted = torch.autograd.grad(reference, exact, upstream.double(), allow_unused=True)
    measure = torch.autograd.grad(yardstick.to(out.dtype), rough, upstream, allow_unused=True)
    names = ("query", "key", "value", "bias")
    for name, leaf, *grads in zip(names, inputs, found, measure, wanted, strict=False):
        grad, m, r = (torch.zeros_like(leaf) if t is None else t for t in grads)
        assert passes(grad, m, r.double()), f"gradient of {name}"
