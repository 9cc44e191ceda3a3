"""What tracing costs: a traced prefill and a traced decoded token against untraced ones.

    python benchmarks/tracing.py                     LLaVA-OneVision-0.5B's geometry, bfloat16
    python benchmarks/tracing.py --dtype float32     where the processor has no bfloat16
    python benchmarks/tracing.py --layers 2          fewer layers in tower and decoder
    python benchmarks/tracing.py --part decode       decoded tokens alone
    python benchmarks/tracing.py --part own          what of a traced prefill is tracing's own code

The model is that of `onevision.py`: SigLIP-so400m as LLaVA cuts it (26 of its 27 layers, width
1152, 16 heads, 729 patches a view, five views) before Qwen2-0.5B over 2,980 tokens, random weights.
The two are run in turn (A B A B ...) in one process, in alternating order, and the ratio is the
median over pairs with a bootstrap interval. The first pass of each form, which is profiled, is
measured on its own: `first` is one prefill, tower included, in a new trace; `prefill` and `decode`
are what follows. Targets: each at most 1.05. Exit status 1 where an interval lies above its target.
`own` is what attnswitch's own Python code takes of one traced prefill, as cProfile sees it: it does
not tell what tracing makes others do, but a noisy machine cannot hide it.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ratios
import torch
from onevision import build, make_inputs, sequence_length

import attnswitch
from attnswitch.bench.statistics import ratio

TARGET = 1.05
PARTS = ("first", "prefill", "decode")
OWN_CODE = str(Path(attnswitch.__file__).parent)
TOKENS = 2980


def seconds(run: Callable[[], Any]) -> float:
    """How long one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Workload:
    """A prefill with its picture, and decoding on top of it, each token over one cache length."""

    def __init__(self, model: Any, inputs: dict[str, torch.Tensor]):
        self._model, self._inputs = model, inputs
        self._cache: Any = None

    def fill_cache(self, tokens: int) -> None:
        """A cache of so many tokens without a prefill: what is in it does not change the time."""
        from transformers import DynamicCache

        text = self._model.config.text_config
        heads, width = text.num_key_value_heads, text.hidden_size // text.num_attention_heads
        self._cache = DynamicCache(config=text)
        for layer in range(text.num_hidden_layers):
            state = torch.randn(1, heads, tokens, width, dtype=self._model.dtype)
            self._cache.update(state, state.clone(), layer)

    def prefill(self) -> None:
        """Run tower, projector and decoder over the prompt, and keep the cache."""
        output = self._model(**self._inputs, use_cache=True, logits_to_keep=1)
        self._cache = output.past_key_values

    def decode(self) -> None:
        """Run one token, as `generate` does after the first, and take it from the cache again."""
        token = self._inputs["input_ids"][:, :1]
        self._model(input_ids=token, past_key_values=self._cache, use_cache=True)
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


def measure(model: Any, work: Workload, parts: list[str], counts: dict[str, int]) -> Iterator[Any]:
    """(part, samples and ratio of traced to untraced seconds), as each is measured."""
    if not parts:
        return
    if parts == ["decode"]:
        work.fill_cache(TOKENS)
    else:
        work.prefill()
    trace = attnswitch.trace(model)

    def in_a_new_trace(run: Callable[[], None]) -> float:
        with attnswitch.trace(model):
            return seconds(run)

    def inside(run: Callable[[], None]) -> float:
        """Time one run in the trace, which is entered and left outside the clock."""
        with trace:
            return seconds(run)

    for part in parts:
        run = work.decode if part == "decode" else work.prefill
        if part != "first":
            with trace:  # the first pass of a form, and the second, are profiled
                for _ in range(2):
                    run()
        # Passes 4, 8, 16 ... are profiled too: among those that are timed, as in a program.
        watched = in_a_new_trace if part == "first" else inside
        plain, traced = pairs(partial(seconds, run), partial(watched, run), counts[part])
        yield part, {"plain": plain, "traced": traced, "ratio": ratio(traced, plain)._asdict()}


def own_code(model: Any, work: Workload) -> dict[str, float]:
    """Seconds of attnswitch's own code in a traced prefill, and of the whole of it."""
    with attnswitch.trace(model):
        for _ in range(2):  # these are profiled
            work.prefill()
        with cProfile.Profile() as profile:
            work.prefill()
    found = pstats.Stats(profile)
    own = (times[2] for (file, *_), times in found.stats.items() if file.startswith(OWN_CODE))
    return {"seconds": sum(own), "of": found.total_tt}


def main() -> int:
    """Measure, print the ratios, and keep the samples where asked."""
    parser = ratios.parser(__doc__)
    parser.add_argument("--part", nargs="+", choices=[*PARTS, "own"], default=list(PARTS))
    parser.add_argument("--prefills", type=int, default=8, help="pairs of prefills (default 8)")
    parser.add_argument("--decodes", type=int, default=60, help="pairs of tokens (default 60)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = build(arguments.layers, arguments.dtype)
    counts = {"first": arguments.prefills, "prefill": arguments.prefills,
              "decode": arguments.decodes}  # fmt: skip
    missed, found = False, {}
    with torch.inference_mode():
        inputs = make_inputs(model)
        work = Workload(model, inputs)
        if "own" in arguments.part:
            found["own"] = own_code(model, work)
            print("own      {seconds:.3f} s of {of:.1f} s".format(**found["own"]), flush=True)
        parts = [part for part in arguments.part if part != "own"]
        for part, result in measure(model, work, parts, counts):
            found[part] = result
            missed |= ratios.is_missed(part, result["ratio"], TARGET)
    tokens = sequence_length(model, inputs)
    ratios.keep(
        {"schema": "attnswitch.tracing-cost/1", "tokens": tokens, "results": found}, arguments
    )
    return int(missed and arguments.layers is None)


if __name__ == "__main__":
    sys.exit(main())
