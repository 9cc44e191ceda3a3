"""What local verification costs: one judged prefill against one plain prefill.

    python benchmarks/verification.py                LLaVA-OneVision-0.5B's geometry, bfloat16
    python benchmarks/verification.py --dtype float32    where the processor has no bfloat16
    python benchmarks/verification.py --layers 2     a rehearsal with fewer layers

`blockwise` against FlashAttention: the plain prefill runs FlashAttention, the verified one judges
both at every site. Run in turn (A B A B ...) in one process; the ratio is the median over pairs
with a bootstrap interval. Targets: at most 4 times the time and 1.3 times the peak memory.
Exit status 1 where the interval lies above its target, or the peak does.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import ratios
import torch
from onevision import build, make_inputs, prefill, sequence_length

import attnswitch
from attnswitch.bench.memory import peak_bytes
from attnswitch.bench.statistics import ratio
from attnswitch.bench.timing import Stop, interleave
from attnswitch.sites import find_sites
from attnswitch.verification.every_site import LocalErrors

TIMES, PEAK = 4.0, 1.3


def plain(model: Any, inputs: Any) -> None:
    """One prefill with FlashAttention at every site."""
    with attnswitch.apply(model, "flash"):
        prefill(model, inputs)


def verified(model: Any, inputs: Any) -> LocalErrors:
    """The same prefill with both judged at every site."""
    paths = list(find_sites(model))
    found = LocalErrors(
        {"baseline": dict.fromkeys(paths, "flash"), "candidate": dict.fromkeys(paths, "blockwise")}
    )
    found.watch(model, partial(prefill, model, inputs), inputs["attention_mask"].bool())
    return found


def main() -> int:
    """Measure, print and keep the samples where asked."""
    parser = ratios.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = build(options.layers, options.dtype)
    inputs = make_inputs(model)
    calls = {
        "plain": partial(plain, model, inputs),
        "verified": partial(verified, model, inputs),
    }
    stop = Stop(options.rounds, options.rounds, float("inf"))
    samples = interleave(calls, stop).seconds
    times = ratio(samples["verified"], samples["plain"])
    peaks = {name: peak_bytes(call) for name, call in calls.items()}
    peak = peaks["verified"] / peaks["plain"]
    rows = [site.rows for site in verified(model, inputs).sites.values()]
    record = {
        "tokens": sequence_length(model, inputs),
        "times": times._asdict(), "peak": peak, "peak_bytes": peaks, "samples": samples,
        "rows": {"judged": sum(r.judged for r in rows), "of": sum(r.of for r in rows)},
    }  # fmt: skip
    print(json.dumps({k: v for k, v in record.items() if k != "samples"}, indent=1))
    ratios.keep(record, options)
    return int(times.low > TIMES or peak > PEAK)


if __name__ == "__main__":
    sys.exit(main())
