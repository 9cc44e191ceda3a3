"""What the switch costs: a decoded token in an armed process against one in a bare process.

    python benchmarks/decoding.py                      OneVision-0.5B's geometry, bfloat16
    python benchmarks/decoding.py --dtype float32      where the processor has no bfloat16
    python benchmarks/decoding.py --layers 2 --tokens 10      to see that it runs

Three processes: one without any variable of ours, one with ATTNSWITCH=flash, one with
ATTNSWITCH=standard. Each builds the model of `onevision.py` and decodes over a cache of 2,980
tokens when it is told to: in turn (A B C C B A ...), the others waiting. PyTorch on a CPU decodes
by its FlashAttention kernel when it is left alone, so `flash` runs the same kernel and its ratio is
what the switch itself costs; `standard` runs another kernel, and its ratio is what a user pays.
Ratios are medians over rounds with a bootstrap interval. Target: at most 1.03 for both. Exit status
1 where an interval lies above it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import ratios

TARGET = 1.03
REQUESTS = (None, "flash", "standard")
FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"
KERNELS = {None: FLASH, "flash": FLASH, "standard": "attnswitch::blockwise"}


class Decoder:
    """A process that decodes one token when told to, under a request or none."""

    def __init__(self, request: str | None, options: Sequence[str]):
        kept = {n: v for n, v in os.environ.items() if not n.startswith("ATTNSWITCH")}
        variables = kept if request is None else {**kept, "ATTNSWITCH": request}
        self.request = request
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker", *options], env=variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Decoder:
        """Wait until the model is there, and see which kernel decodes."""
        ran = self._ask("watch")
        assert ran == [KERNELS[self.request]], f"{self.request} ran {ran}"
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()

    def _ask(self, what: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def seconds(self) -> float:
        """One token's seconds, on the worker's clock."""
        return float(self._ask("decode"))


def rounds(decoders: Sequence[Decoder], count: int) -> list[list[float]]:
    """`count` samples of each, in turn; every other round goes backwards."""
    samples: list[list[float]] = [[] for _ in decoders]
    for number in range(count):
        order = range(len(decoders)) if number % 2 == 0 else reversed(range(len(decoders)))
        for which in order:
            samples[which].append(decoders[which].seconds())
    return samples


def work(arguments: argparse.Namespace) -> None:
    """Build the model, then answer each line of standard input with one of output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import torch
    from onevision import build
    from tracing import TOKENS, Workload, seconds

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = build(arguments.layers, arguments.dtype)
    workload = Workload(model, {"input_ids": torch.zeros(1, 1, dtype=torch.long)})

    def answer(what: str) -> Any:
        if what == "decode":
            time.sleep(0.01)  # until the threads of the process before have ceased to spin
            workload.decode()  # and what it pushed out of the caches is back
            return seconds(workload.decode)
        with torch.profiler.profile() as seen:
            workload.decode()
        return sorted({event.name for event in seen.events()} & set(KERNELS.values()))

    with torch.inference_mode():
        workload.fill_cache(TOKENS)
        for _ in range(5):
            workload.decode()
        for line in sys.stdin:
            answers.write(json.dumps(answer(line.strip())) + "\n")
            answers.flush()


def main() -> int:
    """Measure, print the ratios, and keep the samples where asked."""
    parser = ratios.parser(__doc__)
    parser.add_argument("--tokens", type=int, default=100, help="rounds of tokens (default 100)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return 0
    from attnswitch.bench.statistics import ratio

    options = ["--dtype", arguments.dtype, "--threads", str(arguments.threads)]
    options += [] if arguments.layers is None else ["--layers", str(arguments.layers)]
    with ExitStack() as running:
        decoders = [Decoder(request, options) for request in REQUESTS]
        for decoder in decoders:
            running.enter_context(decoder)
        samples = rounds(decoders, arguments.tokens)
    missed, found = False, {}
    for request, armed in zip(REQUESTS[1:], samples[1:], strict=True):
        found[request] = one = ratio(armed, samples[0])._asdict()
        missed |= ratios.is_missed(str(request), one, TARGET)
    ratios.keep({
        "schema": "attnswitch.decoding-cost/1", "ratios": found,
        "seconds": {str(r or "bare"): s for r, s in zip(REQUESTS, samples, strict=True)},
    }, arguments)  # fmt: skip
    return int(missed and arguments.layers is None)


if __name__ == "__main__":
    sys.exit(main())
