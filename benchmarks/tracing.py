"""What tracing costs: a traced prefill and a traced decoded token against untraced ones.

    python benchmarks/tracing.py                      OneVision-0.5B's geometry, bfloat16
    python benchmarks/tracing.py --geometry small     a few seconds, to see that it runs

The two are run in turn (A B A B ...) in one process, in alternating order, and the ratio is the
median over pairs with a bootstrap interval. The first pass of each form, which is profiled, is
measured on its own: `first` is one prefill in a new trace; `prefill` and `decode` are what follows.
Targets: `first` and `decode` at most 1.05. Exit status 1 where an interval lies above its target.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

import attnswitch
from attnswitch.bench.statistics import ratio

TARGET = 1.05
GEOMETRIES = {
    # LLaVA-OneVision-0.5B: Qwen2-0.5B over 2,980 tokens of picture and question
    "onevision": {
        "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936,
    },
    "small": {
        "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
    },
}  # fmt: skip
TOKENS = {"onevision": 2_980, "small": 256}


def build(geometry: str) -> Qwen2ForCausalLM:
    """A language model of the geometry with seeded random weights, bfloat16."""
    torch.manual_seed(0)
    config = Qwen2Config(**GEOMETRIES[geometry], max_position_embeddings=4096)
    return Qwen2ForCausalLM(config).to(torch.bfloat16).eval()


def seconds(run: Callable[[], Any]) -> float:
    """How long one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Workload:
    """One prefill, and decoding on top of it, each token over the same cache length."""

    def __init__(self, model: Qwen2ForCausalLM, tokens: int):
        self._model = model
        self._prompt = torch.randint(0, model.config.vocab_size, (1, tokens))
        self._cache = None

    def prefill(self) -> None:
        output = self._model(self._prompt, use_cache=True, logits_to_keep=1)
        self._cache = output.past_key_values

    def decode(self) -> None:
        self._model(self._prompt[:, :1], past_key_values=self._cache, use_cache=True)
        self._cache.crop(-1)


def pairs(
    plain: Callable[[], float], traced: Callable[[], float], count: int
) -> tuple[list[float], list[float]]:
    """`count` samples of each, in turn; every other pair begins with the traced one."""
    samples: tuple[list[float], list[float]] = ([], [])
    for number in range(count):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for which in order:
            samples[which].append((plain, traced)[which]())
    return samples


def measure(model: Any, tokens: int, prefills: int, decodes: int) -> dict[str, Any]:
    """Ratios of traced to untraced seconds: `first`, `prefill` and `decode`."""
    work = Workload(model, tokens)
    work.prefill()
    work.decode()

    def first() -> float:
        with attnswitch.trace(model):
            return seconds(work.prefill)

    samples = {"first": pairs(lambda: seconds(work.prefill), first, prefills)}
    trace = attnswitch.trace(model)

    def inside(run: Callable[[], None]) -> float:
        """Time one run in the trace, which is entered and left outside the clock."""
        with trace:
            return seconds(run)

    for name, run, count in (("prefill", work.prefill, prefills), ("decode", work.decode, decodes)):
        with trace:
            for _ in range(3):
                run()
        samples[name] = pairs(lambda run=run: seconds(run), lambda run=run: inside(run), count)
    return {
        name: {"plain": plain, "traced": traced, "ratio": ratio(traced, plain)._asdict()}
        for name, (plain, traced) in samples.items()
    }


def main() -> int:
    """Measure, print the ratios, and keep the samples where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--geometry", choices=GEOMETRIES, default="onevision")
    parser.add_argument("--prefills", type=int, default=8, help="pairs of prefills (default 8)")
    parser.add_argument("--decodes", type=int, default=60, help="pairs of tokens (default 60)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write raw samples and ratios")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = build(arguments.geometry)
    with torch.inference_mode():
        found = measure(model, TOKENS[arguments.geometry], arguments.prefills, arguments.decodes)
    missed = False
    for name, result in found.items():
        found_ratio = result["ratio"]
        above = name != "prefill" and found_ratio["low"] > TARGET
        missed = missed or above
        low, high = found_ratio["low"], found_ratio["high"]
        verdict = "  above the target" if above else ""
        print(f"{name:8} {found_ratio['median']:.3f} × [{low:.3f}, {high:.3f}]{verdict}")
    if arguments.json:
        record = {"geometry": arguments.geometry, "torch": torch.__version__, "results": found}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
    return int(missed and arguments.geometry == "onevision")


if __name__ == "__main__":
    sys.exit(main())
