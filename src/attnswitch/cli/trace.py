"""`attnswitch trace`: which attention kernel runs where, on a model and a picture."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from attnswitch.cli import model_options as options


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "trace",
        help="say which attention kernel ran at each place of a model",
        description="Let a model answer once (or train one step) and say, for each attention site "
        "and phase, what was asked for, what ran, and how we know.",
    )
    options.add_model_options(parser)
    parser.add_argument("--attn", metavar="REQUEST",
                        help="switch the model first (default: what the checkpoint's own "
                        "use_flash_attention says, else auto: only watch)")  # fmt: skip
    parser.add_argument("--backward", action="store_true",
                        help="watch one training step, forward and backward, instead of an "
                        "answer")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the record (- for standard output)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Return 0; 1 where something ran that the request does not allow."""
    options.check_output_path(arguments.json)
    from attnswitch.switch import as_request

    asked = (
        as_request(arguments.attn, "--attn", origin="command")
        if arguments.attn is not None
        else None
    )
    options.progress("loading the model")
    from attnswitch.comparison.runs import watched_run, watched_step
    from attnswitch.models.describing import question
    from attnswitch.models.inputs import prepare_inputs

    loaded = options.load(arguments)
    request = asked or loaded.asked_in_config or as_request("auto", "default")
    pictures, prompt = question(loaded, arguments.image, arguments.prompt)
    tokens = arguments.max_new_tokens
    try:
        inputs = prepare_inputs(loaded, pictures, prompt, max_new_tokens=tokens)
        if arguments.backward:
            options.progress("watching one training step")
            run = watched_step(loaded.model, request, inputs)
        else:
            options.progress("watching one answer")
            run = watched_run(loaded.model, request, inputs, tokens)
    finally:
        options.end_progress()
    record = {
        "schema": "attnswitch.trace/1",
        "receipts": [receipt.to_json() for receipt in run.receipts],
    }
    _show(record, sys.stderr if arguments.json == "-" else sys.stdout)
    if arguments.json:
        options.write_json(record, arguments.json)
    return 1 if run.mismatches() else 0


def _show(record: dict[str, Any], file: Any) -> None:
    """In colour and wrapped on a terminal; elsewhere line by line, for other programs."""
    from rich.console import Console

    from attnswitch.report.text import print_trace, trace_text

    console = Console(file=file)
    if console.is_terminal:
        print_trace(record, console)
    else:
        print(trace_text(record), file=file)
