"""Let the model answer under a request: once watched, then timed in turn with the other request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from attnswitch.bench.memory import peak_bytes
from attnswitch.policy.requests import Request
from attnswitch.switch import apply
from attnswitch.tracing.mismatches import mismatches
from attnswitch.tracing.observer import trace
from attnswitch.types import Receipt
from attnswitch.verification.loss import next_token_loss, requiring_grad


@dataclass
class Run:
    """One request's run: its answer, what ran, and samples of what it cost.

    `tokens` are the new tokens only; times are seconds, one sample a round; `prefill` includes
    the vision tower and ends with the first token's logits.
    """

    request: Request
    tokens: list[int]
    receipts: list[Receipt]
    prefill: list[float] = field(default_factory=list)
    decode_per_token: list[float] = field(default_factory=list)
    peak_bytes: int | None = None

    def mismatches(self) -> list[str]:
        """Where what ran is not what was asked for; an empty list means that the run is valid."""
        return mismatches(self.request, self.receipts)


def generate(model: Any, inputs: Mapping[str, Any], max_new_tokens: int, **options: Any) -> Any:
    """Greedy generation of one answer; returns what the model's own `generate` returns."""
    with torch.inference_mode():
        return model.generate(
            **inputs, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, **options
        )


def new_tokens(output: torch.Tensor, inputs: Mapping[str, Any]) -> list[int]:
    """The generated part of the first sequence."""
    return output[0, inputs["input_ids"].shape[1] :].tolist()


def watched_run(
    model: Any, request: Request, inputs: Mapping[str, Any], max_new_tokens: int
) -> Run:
    """Answer once under `request` with every attention site watched.

    Raises:
        UnavailableError: the request cannot be met at some site.
        ForbiddenError: FlashAttention was about to run although the request bars it.
    """
    with apply(model, request), trace(model) as watched:
        output = generate(model, inputs, max_new_tokens)
    return Run(request, new_tokens(output, inputs), watched.receipts)


def watched_step(model: Any, request: Request, inputs: Mapping[str, Any]) -> Run:
    """One training step's forward and backward under `request`, watched; no weight is changed.

    Raises:
        UnavailableError, ForbiddenError: as for `watched_run`.
    """
    weights = [weight for weight in model.parameters() if weight.is_floating_point()]
    try:
        with (
            requiring_grad(weights), apply(model, request), trace(model) as watched,
            torch.enable_grad(),
        ):  # fmt: skip
            next_token_loss(model, inputs).backward()
    finally:
        for weight in weights:
            weight.grad = None
    return Run(request, [], watched.receipts)


def timed_rounds(
    model: Any,
    runs: Sequence[Run],
    inputs: Mapping[str, Any],
    max_new_tokens: int,
    rounds: int,
    on_round: Callable[[int], None] = lambda _: None,
) -> None:
    """Time the runs in turn (A B A B ...), adding one sample a round to each."""
    for number in range(rounds):
        on_round(number)
        for run in runs:
            with apply(model, run.request):
                prefill, decode = _timed_answer(model, inputs, max_new_tokens)
            run.prefill.append(prefill)
            if decode is not None:
                run.decode_per_token.append(decode)


def _timed_answer(
    model: Any, inputs: Mapping[str, Any], max_new_tokens: int
) -> tuple[float, float | None]:
    """Seconds to the first logits, and seconds a token after that (None with one token)."""
    ends: list[float] = []

    def note(*_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends.append(time.perf_counter())

    handle = model.register_forward_hook(note)
    try:
        start = time.perf_counter()
        generate(model, inputs, max_new_tokens)
    finally:
        handle.remove()
    decode = (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else None
    return ends[0] - start, decode


def measure_memory(model: Any, run: Run, inputs: Mapping[str, Any]) -> None:
    """Note the peak of memory allocated during prefill, in bytes, beyond what was there."""
    with apply(model, run.request):
        run.peak_bytes = peak_bytes(lambda: generate(model, inputs, 1), str(model.device))
