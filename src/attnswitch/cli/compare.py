"""`attnswitch compare`: one question, two ways of attention, side by side."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from attnswitch.cli import model_options as options


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        help="let a LLaVA answer with FlashAttention on and off, and judge the difference",
        description="Let a LLaVA answer one question under two requests. Prints both answers, "
        "which kernel ran where, time and memory, and whether the outputs agree "
        "(exit status 0) or not (1).",
    )
    options.add_model_options(parser)
    parser.add_argument("--baseline", default="flash", metavar="REQUEST")
    parser.add_argument("--candidate", default="standard", metavar="REQUEST")
    parser.add_argument("--rounds", type=options.positive, default=5, metavar="N",
                        help="timing samples of each, taken in turn (default: 5)")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the record (- for standard output)")
    parser.add_argument("--report", metavar="FILE.html", help="write a page to look at")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Return 0 where the outputs agree, else 1."""
    for path in (arguments.json, arguments.report):
        options.check_output_path(path)
    from attnswitch.switch import as_request

    requests = [
        as_request(arguments.baseline, "--baseline"),
        as_request(arguments.candidate, "--candidate"),
    ]
    options.progress("loading the model")
    from attnswitch.comparison.compare import compare
    from attnswitch.models.describing import question

    loaded = options.load(arguments)
    pictures, prompt = question(loaded, arguments.image, arguments.prompt)
    try:
        record = compare(
            loaded,
            pictures,
            prompt,
            baseline=requests[0],
            candidate=requests[1],
            max_new_tokens=arguments.max_new_tokens,
            rounds=arguments.rounds,
            progress=options.progress,
        )
    finally:
        options.end_progress()
    _show(record, arguments)
    return 0 if record["verdict"]["agrees"] else 1


def _show(record: dict[str, Any], arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from attnswitch.report.text import comparison_text

    to_stdout = arguments.json == "-"
    comparison_text(record, Console(file=sys.stderr if to_stdout else sys.stdout))
    if arguments.json:
        options.write_json(record, arguments.json)
    if arguments.report:
        from attnswitch.report.comparison_page import write_page

        write_page(record, arguments.report)
        print(f"report: {arguments.report}", file=sys.stderr)
