"""Judging attention beside dumping tensors: attnswitch and Ascend's msprobe on one LLaVA forward.

    pip install --target probe mindstudio-probe        never into attnswitch's own environment
    python benchmarks/beside_msprobe.py --msprobe probe
    python benchmarks/beside_msprobe.py --msprobe probe --dtype bfloat16

The model is that of `onevision.py`, cut to `--layers` layers in tower and decoder: a picture of
four views, 2,980 tokens. Both are asked what differs between FlashAttention and standard attention:

    attnswitch   one pass in which both kernels run at every site and are judged against float64
    msprobe      one pass with every tensor dumped (level L1, task tensor), for each of the two

Each way runs in a process of its own, in turn, `--rounds` times: seconds over those of the plain
forward that the same process ran before (the median of three), what its resident set grew by at
most, and the bytes that it left on disk. msprobe needs a second dump, and a comparison of the two
folders, before it says anything: what stands here is a single dump.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import ratios

WAYS = ("plain", "attnswitch", "msprobe")


def main() -> int:
    """Measure each way in fresh processes, print a line for each, and keep the samples."""
    parser = ratios.parser(__doc__, layers=1, dtype="float32")
    parser.add_argument("--msprobe", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(_in_this_process(options)))
        return 0
    samples: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            samples[way].append(_in_a_fresh_process(way))
    results = {way: _summary(runs) for way, runs in samples.items()}
    for way, said in results.items():
        print(
            f"{way:10} {said['times']:6.2f} × the time {said['peak_bytes'] / 2**20:8,.0f} MiB "
            f"{said['disk_bytes'] / 2**20:8,.1f} MiB on disk in {said['files']:,} files"
        )
    ratios.keep({
        "schema": "attnswitch.beside-msprobe/1", "versions": samples["msprobe"][0]["versions"],
        "results": results, "samples": samples,
    }, options)  # fmt: skip
    return 0


def _in_a_fresh_process(way: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--way", way], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "times": median(run["seconds"] / run["plain_seconds"] for run in runs),
        "seconds": median(run["seconds"] for run in runs),
        "peak_bytes": median(run["peak_bytes"] for run in runs),
        "disk_bytes": runs[0]["disk_bytes"],
        "files": runs[0]["files"],
    }


def _in_this_process(options: argparse.Namespace) -> dict[str, Any]:
    if options.way == "msprobe":
        sys.path.append(str(options.msprobe.resolve()))  # what is here already goes before it
    import torch
    from onevision import build, make_inputs, prefill
    from verification import plain

    from attnswitch.bench.fresh import peak_resident_bytes

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = build(options.layers, options.dtype)
    inputs = make_inputs(model)
    before = [_seconds(lambda: plain(model, inputs)) for _ in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        call, versions = _call(options.way, model, inputs, folder, prefill)
        seconds = 0.0

        def timed() -> None:
            nonlocal seconds
            seconds = _seconds(call)

        peak = peak_resident_bytes(timed)
        left = [path for path in Path(folder).rglob("*") if path.is_file()]
        disk = sum(path.stat().st_size for path in left)
    return {
        "plain_seconds": median(before), "seconds": seconds, "peak_bytes": peak,
        "disk_bytes": disk, "files": len(left), "versions": versions,
    }  # fmt: skip


def _call(
    way: str, model: Any, inputs: Any, folder: str, prefill: Callable[..., Any]
) -> tuple[Callable[[], Any], dict[str, str]]:
    from verification import plain, verified

    if way == "plain":
        return lambda: plain(model, inputs), {}
    if way == "attnswitch":
        return lambda: verified(model, inputs), {}
    from importlib.metadata import version

    from msprobe.pytorch import PrecisionDebugger

    debugger = PrecisionDebugger(dump_path=folder, task="tensor", level="L1")

    def dumped() -> None:
        debugger.start(model)
        prefill(model, inputs)
        debugger.stop()
        debugger.step()  # writes what is still held

    return dumped, {name: version(name) for name in ("torch", "mindstudio-probe")}


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
