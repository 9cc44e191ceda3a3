"""`attnswitch explain`: what would run where, and why, from a checkpoint's config alone."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from attnswitch.cli import model_options as options


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "explain",
        help="say what would run at each place of a model, and why, without running it",
        description="A dry run from a checkpoint's config alone: for each attention site what "
        "would run, which rule decided, and why each faster backend was refused; on this machine "
        "or on one of which there is a hardware profile.",
    )
    parser.add_argument("--model", metavar="FOLDER_OR_ID",
                        help="a LLaVA-family checkpoint (default: the built-in LLaVA)")  # fmt: skip
    parser.add_argument("--attn", metavar="REQUEST",
                        help="a request or a policy file (default: flash, as LLaVA's training "
                        "scripts ask for)")  # fmt: skip
    parser.add_argument("--on", metavar="PROFILE",
                        help="v100, t4, rtx30, rtx40, a100, h100, 910b, cpu, cpu-avx512, cpu-amx "
                        "(default: this machine)")  # fmt: skip
    parser.add_argument("--dtype", help="float32, bfloat16, float16 (fp32, bf16, fp16)")
    parser.add_argument("--json", metavar="FILE", help="write the record (- for standard output)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Return 0; 3 where the request was named and cannot be met at some site."""
    options.check_output_path(arguments.json)
    from attnswitch.explaining.explain import explain

    source = "--attn" if arguments.attn is not None else "default"
    request = arguments.attn if arguments.attn is not None else "flash"
    found = explain(arguments.model, request, on=arguments.on, dtype=arguments.dtype, source=source)
    print(str(found), end="", file=sys.stderr if arguments.json == "-" else sys.stdout)
    if arguments.json:
        options.write_json(found.to_json(), arguments.json)
    return 3 if arguments.attn is not None and not found.met else 0
