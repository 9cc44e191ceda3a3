"""`attnswitch history`: what was measured here, how two runs differ, is it slower than before."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from attnswitch.cli import model_options as options
from attnswitch.cli import record_options
from attnswitch.errors import InputError

DESCRIPTION = """\
List what the record holds; show a run, compare two, check whether the machine and code became
slower than their own past (exit status 1 where they did), report any set of runs, export, import.
"""
FILTERS = {
    "label": "runs with this label",
    "subject": "a model or geometry by name",
    "request": "a request, as it was given to --backends",
    "phase": "vision, prefill, decode, training_step",
    "dtype": "float32, bfloat16, float16",
    "part": "whole or attention",
    "machine": "a machine's short name, as --json tells it",
    "commit-of-run": "runs of a commit of the project under test",
    "since": "a time (2026-05-31) or an age (30d, 12h)",
}


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "history",
        help="list, compare and report what was measured; say whether it became slower",
        description=DESCRIPTION,
    )
    record_options.add_record_option(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--show", metavar="RUN", help="one run: the beginning of its id, last, last~1"
    )
    what.add_argument("--compare", nargs=2, metavar="RUN", help="two runs, the older one first")
    what.add_argument("--check", action="store_true",
                      help="are the newest runs slower than the ones before; with --commit, is "
                      "what is here slower than that commit")  # fmt: skip
    what.add_argument("--export", metavar="FILE.jsonl", help="write runs and rows as JSON Lines")
    what.add_argument("--import", metavar="FILE.jsonl", dest="import_file",
                      help="add what another record exported")  # fmt: skip
    _add_filters(parser)
    _add_check_options(parser)
    record_options.add_report_options(parser)
    parser.set_defaults(run=run)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which runs and rows (of each kind all, if not given)")
    for name, text in FILTERS.items():
        group.add_argument(f"--{name}", metavar=name.upper().replace("-OF-RUN", ""), help=text)


def _add_check_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with --check")
    group.add_argument("--commit", metavar="COMMIT",
                       help="measure this commit of attnswitch, or of the project under test, and "
                       "what is there now, in turn")  # fmt: skip
    group.add_argument("--project", metavar="FOLDER",
                       help="the git repository of that commit (default: the current "
                       "folder's)")  # fmt: skip
    group.add_argument("--run", metavar="RUN", dest="of_run", default="last",
                       help="whose workloads are measured (default: last)")  # fmt: skip
    group.add_argument("--newest", type=options.positive, default=10, metavar="N",
                       help="how many runs are the new side, at most (default: 10)")  # fmt: skip
    group.add_argument("--tolerance", type=float, default=1.0, metavar="PERCENT",
                       help="a slowdown up to this is none (default: 1)")  # fmt: skip
    group.add_argument("--detect", type=float, default=5.0, metavar="PERCENT",
                       help="the slowdown that is to be found or ruled out "
                       "(default: 5)")  # fmt: skip
    group.add_argument("--absolute", action="store_true",
                       help="compare seconds, not seconds over the control's: on a machine that "
                       "nobody else uses")  # fmt: skip
    group.add_argument("--seconds", type=float, default=4.0, metavar="S",
                       help="sampling of a workload in each pair of processes "
                       "(default: 4)")  # fmt: skip
    group.add_argument("--pairs", type=options.positive, default=40, metavar="N",
                       help="pairs of processes, at most (default: 40)")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Return 0; with --check 1 where something became slower."""
    _refuse_what_would_be_ignored(arguments)
    record_options.check_outputs(arguments)
    from attnswitch.record.place import record_file
    from attnswitch.record.store import open_record

    path = record_file(arguments.record)
    with open_record(path, create=bool(arguments.import_file)) as record:
        if arguments.import_file:
            return _import(record, arguments.import_file)
        if arguments.check:
            from attnswitch.cli import history_check

            return history_check.run(record, arguments)
        from attnswitch.history.selecting import Filter, find_run, select

        runs, rows = select(record, Filter(**filters(arguments)))
        if arguments.export:
            return _export(runs, rows, arguments.export)
        if arguments.compare:
            found = [find_run(runs, word) for word in arguments.compare]
            return _compare(found, rows, arguments)
        if arguments.show:
            runs = [find_run(runs, arguments.show)]
            rows = [row for row in rows if row.run == runs[0].id]
        return _report(runs, rows, arguments)


def _refuse_what_would_be_ignored(arguments: argparse.Namespace) -> None:
    named = {"check": arguments.check, "compare": arguments.compare,
             "export": arguments.export, "import": arguments.import_file}  # fmt: skip
    asked = next((name for name, value in named.items() if value), None)
    if asked and (arguments.report or arguments.plots):
        more = "write --json FILE, or " if asked in ("check", "compare") else ""
        raise InputError(f"--{asked} has no report: {more}report the runs themselves")
    if asked in ("export", "import") and arguments.json:
        raise InputError(f"--{asked} writes no --json")
    if arguments.commit and not arguments.check:
        raise InputError("--commit goes with --check; runs of a commit are --commit-of-run")


def filters(arguments: argparse.Namespace) -> dict[str, str | None]:
    """The filter that the options describe."""
    from attnswitch.bench.workload import phase_of_word
    from attnswitch.models.placement import dtype_name

    told = {name: getattr(arguments, name.replace("-", "_")) for name in FILTERS}
    told["commit"] = told.pop("commit-of-run")
    if told["phase"]:
        told["phase"] = phase_of_word(told["phase"])
    if told["dtype"]:
        told["dtype"] = dtype_name(told["dtype"])
    if told["part"] not in (None, "whole", "attention"):
        raise InputError(f"unknown part {told['part']!r}; write whole or attention")
    return told


def _report(runs: list[Any], rows: list[Any], arguments: argparse.Namespace) -> int:
    """The list of runs; all their rows where something is written or one run is shown."""
    from attnswitch.bench.document import document

    if not (arguments.show or arguments.json or arguments.report or arguments.plots):
        _list(runs, rows)
        return 0
    record = document(runs, rows)
    if arguments.show:
        record_options.show_benchmark(record, arguments)
    record_options.write_outputs(record, arguments)
    return 0


def _list(runs: list[Any], rows: list[Any]) -> None:
    from rich.console import Console

    from attnswitch.report.history_text import runs_text

    told = []
    for run in runs:
        mine = [row.data["workload"] for row in rows if row.run == run.id]
        parts = {"attention": ", attention"}
        subjects = [f"{w.get('subject')}{parts.get(str(w.get('part')), '')}" for w in mine]
        told.append(
            {"id": run.id, "label": run.label, "commit": run.project.get("commit") or "",
             "dirty": bool(run.project.get("dirty")), "rows": len(mine),
             "subjects": list(dict.fromkeys(subjects)),
             "phases": list(dict.fromkeys(str(w.get("phase")) for w in mine))}
        )  # fmt: skip
    runs_text(told, Console(file=sys.stdout))


def _compare(two: list[Any], rows: list[Any], arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from attnswitch.history.comparing import compare_runs
    from attnswitch.report.history_text import comparison_of_runs_text

    record = compare_runs(two[0], two[1], rows)
    to_stdout = arguments.json == "-"
    comparison_of_runs_text(record, Console(file=sys.stderr if to_stdout else sys.stdout))
    if arguments.json:
        options.write_json(record, arguments.json)
    return 0


def _export(runs: list[Any], rows: list[Any], path: str) -> int:
    from attnswitch.record.json_lines import lines
    from attnswitch.report.atomic_file import write_atomically

    text = "".join(f"{line}\n" for line in lines(runs, rows))
    if path == "-":
        print(text, end="")
    else:
        write_atomically(path, text.encode())
        print(f"export: {path}, {len(runs)} runs, {len(rows)} rows", file=sys.stderr)
    return 0


def _import(record: Any, path: str) -> int:
    from attnswitch.record.json_lines import import_into, read_lines

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    runs, rows = read_lines(text.split("\n"), path)
    added = import_into(record, runs, rows)
    print(f"{added} rows added, {len(rows) - added} were there already", file=sys.stderr)
    return 0
