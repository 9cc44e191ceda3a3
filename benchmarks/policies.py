"""What rules cost: a decoded token under a policy of 20 rules against one under a policy of one.

    python benchmarks/policies.py                      OneVision-0.5B's geometry, bfloat16
    python benchmarks/policies.py --dtype float32      where the processor has no bfloat16
    python benchmarks/policies.py --layers 2 --tokens 10      to see that it runs

Every rule of the 20 asks for something that only the call can tell, and none but the top line
matches, so each call checks them all. Both policies lead to the same kernel. The model is that of
`onevision.py`; tokens are decoded over a cache of 2,980 in turn (A B A B ...) in one process, in
alternating order, and the ratio is the median over pairs with a bootstrap interval. Target: at most
1.01. Exit status 1 where the interval lies above it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import ratios
import torch
from onevision import build
from tracing import TOKENS, Workload, pairs, seconds

import attnswitch
from attnswitch import intent
from attnswitch.bench.statistics import ratio
from attnswitch.sites import find_sites
from attnswitch.types import RuledChoice

TARGET = 1.01


def policy(rules: int) -> dict[str, Any]:
    """`rules` rules that each call has to look at and none of which matches."""
    never = 10**9
    return {
        "attn": "standard",
        "rules": [
            {"when": {"kv_length": f">{never - i}", "batch": f"{never + i}"}, "use": "math"}
            for i in range(rules)
        ],
    }


def measure(model: Any, work: Workload, count: int, how: str) -> dict[str, Any]:
    """Samples of seconds a token under each policy, and their ratio."""

    def under(rules: int) -> Callable[[], float]:
        given = policy(rules)

        def run() -> float:
            with attnswitch.apply(model, given) if how == "apply" else attnswitch.use(given):
                check(model, rules, how)
                work.decode()  # plans are made at the first call
                return seconds(work.decode)

        return run

    one, twenty = pairs(under(1), under(20), count)
    return {"one": one, "twenty": twenty, "ratio": ratio(twenty, one)._asdict()}


def check(model: Any, rules: int, how: str) -> None:
    """The rules must still be open at the call, or nothing is measured."""
    choice = intent.of_process()
    if how == "apply":
        text = [m for site, m in find_sites(model).values() if site.role == "language_model"]
        choice = intent.of_module(text[0])
    assert isinstance(choice, RuledChoice)
    assert len(choice.outcomes) == rules + 1


def main() -> int:
    """Measure, print the ratios, and keep the samples where asked."""
    parser = ratios.parser(__doc__)
    parser.add_argument("--tokens", type=int, default=100, help="pairs of tokens (default 100)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = build(arguments.layers, arguments.dtype)
    work = Workload(model, {"input_ids": torch.zeros(1, 1, dtype=torch.long)})
    missed, found = False, {}
    with torch.inference_mode():
        work.fill_cache(TOKENS)
        for how in ("apply", "use"):
            found[how] = measure(model, work, arguments.tokens, how)
            missed |= ratios.is_missed(how, found[how]["ratio"], TARGET)
    ratios.keep({"schema": "attnswitch.policy-cost/1", "results": found}, arguments)
    return int(missed and arguments.layers is None)


if __name__ == "__main__":
    sys.exit(main())
