"""What `standard` costs end to end: a prefill and a training step over those of `flash`.

    python benchmarks/end_to_end.py                          the whole model in bfloat16
    python benchmarks/end_to_end.py --layers 4               fewer layers in tower and decoder
    python benchmarks/end_to_end.py --dtype float32 --part training_step

The model is that of `onevision.py`: SigLIP-so400m before Qwen2-0.5B over 2,980 tokens, random
weights; a prefill takes tower, projector and decoder, a training step their forward and backward,
without an optimizer. `attnswitch bench` measures the phases apart; this is their sum, and can take
fewer layers, where a processor without bfloat16 instructions takes minutes for a pass.

Each request is traced once, and its receipts must say that it ran; then it is weighed, and the two
take turns (A B, B A, ...). A ratio is the median over pairs with a bootstrap interval. Targets:
prefill 1.10, training step 1.30, memory 1.10. Exit status 1 where an interval, or the memory, lies
above its target.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import ratios
import torch
from onevision import build, make_inputs, prefill, sequence_length

import attnswitch
from attnswitch.bench.memory import peak_bytes
from attnswitch.bench.phases import phase_call
from attnswitch.bench.statistics import ratio

REQUESTS = ("flash", "standard")
TARGETS = {"prefill": 1.10, "training_step": 1.30}
MEMORY_TARGET = 1.10


def passes(model: Any, inputs: dict[str, torch.Tensor], part: str) -> Callable[[], object]:
    """One pass of the part, to be run again and again."""
    if part == "training_step":
        return phase_call(model, inputs, part)
    return lambda: prefill(model, inputs)


def weigh(model: Any, run: Callable[[], object], request: str) -> int:
    """Peak bytes of a pass; raises RuntimeError where another kernel family ran."""
    with attnswitch.apply(model, request):
        with attnswitch.trace(model) as trace:
            run()
        ran = {receipt.family for receipt in trace.receipts}
        if ran != {request}:
            raise RuntimeError(f"{request} was asked for, {sorted(map(str, ran))} ran")
        return peak_bytes(run)


def measure(model: Any, run: Callable[[], object], rounds: int) -> dict[str, list[float]]:
    """Seconds of each request, in turn; every other round begins with the other."""
    samples: dict[str, list[float]] = {request: [] for request in REQUESTS}
    for number in range(rounds):
        for request in REQUESTS if number % 2 == 0 else REQUESTS[::-1]:
            with attnswitch.apply(model, request):
                start = time.perf_counter()
                run()
                samples[request].append(time.perf_counter() - start)
    return samples


def main() -> int:
    """Measure, print the ratios, and keep the samples where asked."""
    parser = ratios.parser(__doc__)
    parser.add_argument("--part", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--rounds", type=int, default=4, help="pairs of passes (default 4)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = build(arguments.layers, arguments.dtype)
    inputs = make_inputs(model)
    missed, found = False, {}
    for part in arguments.part:
        run = passes(model, inputs, part)
        peak = {request: weigh(model, run, request) for request in REQUESTS}
        samples = measure(model, run, arguments.rounds)
        over = ratio(samples["standard"], samples["flash"])._asdict()
        memory = peak["standard"] / peak["flash"]
        found[part] = {"seconds": samples, "ratio": over, "peak_bytes": peak}
        missed |= ratios.is_missed(part, over, TARGETS[part]) or memory > MEMORY_TARGET
        verdict = "  above the target" if memory > MEMORY_TARGET else ""
        print(f"{'':8} peak memory {memory:.3f} ×{verdict}", flush=True)
    tokens = sequence_length(model, inputs)
    ratios.keep(
        {"schema": "attnswitch.end-to-end/1", "tokens": tokens, "results": found}, arguments
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
