"""Time, weigh and judge `blockwise` against FlashAttention and the others, on LLaVA's own shapes.

python benchmarks/attention.py           everything; JSON, table and plot under docs/measured
python benchmarks/attention.py --quick   two rounds a case: a rehearsal, not a result
python benchmarks/attention.py --only Qwen2 --dtype bf16 --pass forward --part speed
python benchmarks/attention.py --add …   keep what the folder has of other cases and parts
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch
from attention_accuracy import measure_accuracy
from attention_contenders import contenders
from attention_memory import measure_memory
from attention_report import draw, write_page, write_table
from attention_shapes import Case, cases

from attnswitch.bench.statistics import estimate, ratio
from attnswitch.bench.timing import Stop, interleave

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PARTS = ("speed", "memory", "accuracy")
ROUNDS_OF_ALL = 3


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; results are saved after each case."""
    options = _parser().parse_args(arguments)
    torch.manual_seed(0)
    found: dict[str, Any] = {"schema": "attnswitch.attention/1", "environment": _environment()}
    found |= {"rows": [], "memory": [], "accuracy": []}
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "attention.json"
    if options.add and path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old["environment"] != found["environment"]:
            print(f"{path} was measured elsewhere: {old['environment']}", file=sys.stderr)
            return 2
        found = joined(old, found)

    def save() -> None:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    if "speed" in options.part:
        for case, name, direction in _selected(options):
            row = _time(case, name, direction == "backward", options)
            found = joined(found, {"rows": [row]})
            write_table([row], sys.stdout)
            save()
    if "memory" in options.part:
        found["memory"] = measure_memory(quick=options.quick)
        save()
    if "accuracy" in options.part:
        found["accuracy"] = measure_accuracy()
        save()
    write_page(found, options.output / "attention.md")
    write_table([], sys.stdout, found["memory"], found["accuracy"])
    if found["rows"]:
        draw(found["rows"], options.output / "attention.svg")
    return 0


def joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What was found, and found anew: a case measured again takes its old place."""
    rows = {_case_of(row): row for row in (*old["rows"], *new["rows"])}
    parts = {part: new.get(part) or old[part] for part in ("memory", "accuracy")}
    return {**old, **new, "rows": list(rows.values()), **parts}


def _case_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("case", "tokens", "batch", "mask", "dtype", "pass"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--tokens", type=int, help="cases of this length")
    parser.add_argument("--mask", help="cases with this mask: full, causal, padded, packed")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument(
        "--pass", nargs="+", dest="direction", choices=("forward", "backward"),
        default=["forward", "backward"],
    )  # fmt: skip
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--against", nargs="+", help="contenders to run beside blockwise")
    parser.add_argument(
        "--rounds", type=int, default=12, help="at most so many of flash and blockwise alone"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="their time, after 4 rounds")
    parser.add_argument("--quick", action="store_true", help="two rounds a case")
    parser.add_argument("--add", action="store_true", help="keep what is in the folder already")
    parser.add_argument("--output", type=Path, default=Path("docs/measured"))
    return parser


def _selected(options: argparse.Namespace) -> list[tuple[Case, str, str]]:
    chosen = [
        case
        for case in cases()
        if options.only in case.name
        and options.tokens in (None, case.tokens)
        and options.mask in (None, case.mask)
    ]
    return [(c, d, p) for p in options.direction for c in chosen for d in options.dtype]


def _time(case: Case, dtype: str, backward: bool, options: argparse.Namespace) -> dict[str, Any]:
    attends, left_out = contenders(case, backward)
    if options.against:
        others = attends.keys() - {*options.against, "blockwise"}
        left_out |= dict.fromkeys(others, "left out by --against")
        attends = {name: run for name, run in attends.items() if name not in others}
    query, key, value = (t.requires_grad_(backward) for t in case.tensors(DTYPES[dtype]))
    upstream = torch.randn_like(query)

    def sample(attend: Any) -> Any:
        def run() -> Any:
            if not backward:
                with torch.no_grad():
                    return attend(query, key, value)
            out = attend(query, key, value)
            query.grad = key.grad = value.grad = None
            out.backward(upstream)
            return None

        return run

    calls = {name: sample(attend) for name, attend in attends.items()}
    samples = _samples(calls, options)
    return {
        "case": case.name, "heads": f"{case.heads}({case.groups})x{case.width}",
        "tokens": case.tokens, "batch": case.batch, "mask": case.mask, "dtype": dtype,
        "pass": "forward+backward" if backward else "forward",
        "seconds": {name: estimate(times)._asdict() for name, times in samples.items()},
        "blockwise_over": {
            name: ratio(samples["blockwise"][: len(times)], times)._asdict()
            for name, times in samples.items() if name != "blockwise"
        },
        "left_out": left_out, "samples": samples,
    }  # fmt: skip


def _samples(calls: dict[str, Any], options: argparse.Namespace) -> dict[str, list[float]]:
    """A few rounds of all, then more of the two that matter and are quick."""
    few = Stop(2, 2) if options.quick else Stop(ROUNDS_OF_ALL, ROUNDS_OF_ALL)
    samples = interleave(calls, few).seconds
    if not options.quick:
        pair = {name: calls[name] for name in ("flash", "blockwise") if name in calls}
        more = interleave(pair, Stop(4, options.rounds, options.seconds), warm_up=0).seconds
        for name, times in more.items():
            samples[name] += times
    return samples


def _environment() -> dict[str, Any]:
    return {
        "torch": torch.__version__, "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(), "machine": platform.machine(),
        "python": platform.python_version(),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
