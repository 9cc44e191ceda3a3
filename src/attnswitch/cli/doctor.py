"""`attnswitch doctor`: what this machine can do, what is broken, and what to do about it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from attnswitch.cli import model_options as options


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor",
        help="say what this machine can run, what is broken and why, and the remedy",
        description="GPUs, driver, torch, flash-attn, xformers and their kind: what is broken and "
        "why; each backend available or not, with reasons and the remedy. Fit to be pasted into "
        "an issue.",
    )
    parser.add_argument("--probe", action="store_true",
                        help="run a small real attention through each backend, forward and "
                        "backward, and check it")  # fmt: skip
    parser.add_argument("--dtype", help="for attention in this dtype: float32, bf16, fp16 ...")
    parser.add_argument("--head-dim", type=options.positive, metavar="N", help="of this head width")
    parser.add_argument("--training", action="store_true", help="with a backward pass")
    parser.add_argument("--json", metavar="FILE", help="write the record (- for standard output)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Return 0; 1 where a probe shows that a backend is wrong here."""
    options.check_output_path(arguments.json)
    from attnswitch.doctor.examine import examine
    from attnswitch.doctor.state import Wanted
    from attnswitch.models.placement import dtype_name
    from attnswitch.report.doctor_text import doctor_text

    dtype = dtype_name(arguments.dtype) if arguments.dtype else None
    wanted = Wanted(dtype, arguments.head_dim, arguments.training)
    record = examine(wanted, with_probe=arguments.probe)
    print(doctor_text(record), end="", file=sys.stderr if arguments.json == "-" else sys.stdout)
    if arguments.json:
        options.write_json(record, arguments.json)
    failed = [b for b in record["backends"] if b["probe"] and b["probe"]["agrees"] is False]
    return 1 if failed else 0
