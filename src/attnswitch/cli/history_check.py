"""`attnswitch history --check`: is it slower than its own past, or than a commit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from attnswitch.cli import model_options as options
from attnswitch.cli.history import filters
from attnswitch.errors import InputError

# With n pairs the smallest probability is 2 in 2ⁿ, and what is found is found at 1 %.
LEAST_PAIRS = 8


def run(record: Any, arguments: argparse.Namespace) -> int:
    """Return 1 where a row became slower, else 0."""
    from attnswitch.history.selecting import Filter, select

    runs, rows = select(record, Filter(**filters(arguments)))
    if arguments.commit:
        found, pairs = _against_commit(runs, rows, arguments)
    else:
        from attnswitch.history.checking import check, sides

        two = sides(runs, rows, arguments.newest)
        pairs = []
        found = check(two, rows, **_settings(arguments), absolute=arguments.absolute)
    _show({**found.to_json(), "pairs": pairs}, arguments)
    return 1 if found.slower else 0


def _settings(arguments: argparse.Namespace) -> dict[str, float]:
    for name in ("tolerance", "detect"):
        if getattr(arguments, name) < 0:
            raise InputError(f"--{name} is a percentage, not {getattr(arguments, name):g}")
    if arguments.detect <= arguments.tolerance:
        raise InputError("--detect must be more than --tolerance")
    return {"tolerance": arguments.tolerance / 100, "detect": arguments.detect / 100}


def _against_commit(runs: list[Any], rows: list[Any], arguments: argparse.Namespace) -> Any:
    from attnswitch.environment import require_torch
    from attnswitch.history.against_commit import both_sides, workloads_of
    from attnswitch.history.selecting import find_run
    from attnswitch.history.side_by_side import Question, compare_sides

    settings = _settings(arguments)
    if arguments.absolute:
        raise InputError("--absolute goes with --check alone: with --commit seconds are compared")
    if arguments.pairs < LEAST_PAIRS:
        raise InputError(f"--pairs: fewer than {LEAST_PAIRS} can show nothing at 1 %")
    chosen = find_run(runs, arguments.of_run)
    workloads, requests = workloads_of([row for row in rows if row.run == chosen.id])
    threads = chosen.environment.get("threads") or require_torch().get_num_threads()
    question = Question(
        workloads, requests, **settings, seconds=arguments.seconds, most=arguments.pairs,
        threads=threads, trust_remote_code=bool(chosen.settings.get("trust_remote_code")),
    )  # fmt: skip
    project = Path(arguments.project or ".").resolve()
    try:
        with both_sides(project, arguments.commit) as (old, new):
            found, taken = compare_sides(old, new, question, tell=options.progress)
    finally:
        options.end_progress()
    return found, taken.to_json()


def _show(record: dict[str, Any], arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from attnswitch.report.history_text import check_text

    to_stdout = arguments.json == "-"
    check_text(record, Console(file=sys.stderr if to_stdout else sys.stdout))
    if arguments.json:
        options.write_json(record, arguments.json)
