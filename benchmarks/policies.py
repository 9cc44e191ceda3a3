"""What rules cost: a decoded token under a policy of 20 rules against one under a policy of one.

    python benchmarks/policies.py                      OneVision-0.5B's geometry, bfloat16
    python benchmarks/policies.py --geometry small     a few seconds, to see that it runs

Every rule of the 20 asks for something that only the call can tell, and none but the top line
matches, so each call checks them all. Both policies lead to the same kernel. Tokens are decoded in
turn (A B A B ...) in one process, in alternating order; the ratio is the median over pairs with a
bootstrap interval. Target: at most 1.01. Exit status 1 where the interval lies above it.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from tracing import GEOMETRIES, TOKENS, Workload, build, pairs, seconds

import attnswitch
from attnswitch.bench.statistics import ratio
from attnswitch.types import RuledChoice

TARGET = 1.01


def policy(rules: int) -> dict:
    """`rules` rules that each call has to look at and none of which matches."""
    never = 10**9
    return {
        "attn": "standard",
        "rules": [
            {"when": {"kv_length": f">{never - i}", "batch": f"{never + i}"}, "use": "math"}
            for i in range(rules)
        ],
    }


def measure(model: torch.nn.Module, tokens: int, count: int, how: str) -> dict:
    """Samples of seconds a token under each policy, and their ratio."""
    work = Workload(model, tokens)
    work.prefill()

    def under(rules: int):
        switch = (lambda p: attnswitch.apply(model, p)) if how == "apply" else attnswitch.use

        def run() -> float:
            with switch(policy(rules)):
                check(model, rules, how)
                work.decode()  # plans are made at the first call
                return seconds(work.decode)

        return run

    one, twenty = pairs(under(1), under(20), count)
    return {"one": one, "twenty": twenty, "ratio": ratio(twenty, one)._asdict()}


def check(model: torch.nn.Module, rules: int, how: str) -> None:
    """The rules must still be open at the call, or nothing is measured."""
    from attnswitch import intent

    choice = intent.of_process()
    if how == "apply":
        choice = intent.of_module(model.model.layers[0].self_attn)
    assert isinstance(choice, RuledChoice)
    assert len(choice.outcomes) == rules + 1


def main() -> int:
    """Measure, print the ratios, and keep the samples where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--geometry", choices=GEOMETRIES, default="onevision")
    parser.add_argument("--tokens", type=int, default=100, help="pairs of tokens (default 100)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write raw samples and ratios")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = build(arguments.geometry)
    with torch.inference_mode():
        found = {
            how: measure(model, TOKENS[arguments.geometry], arguments.tokens, how)
            for how in ("apply", "use")
        }
    missed = False
    for how, result in found.items():
        low, high = result["ratio"]["low"], result["ratio"]["high"]
        missed = missed or low > TARGET
        verdict = "  above the target" if low > TARGET else ""
        print(f"{how:6} {result['ratio']['median']:.3f} × [{low:.3f}, {high:.3f}]{verdict}")
    if arguments.json:
        record = {"geometry": arguments.geometry, "torch": torch.__version__, "results": found}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
    return int(missed and arguments.geometry == "onevision")


if __name__ == "__main__":
    sys.exit(main())
