"""`attnswitch scan`: find FlashAttention in a source tree."""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnswitch.source import Finding, Scan


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "scan",
        help="find what switches FlashAttention on in a source tree, and where",
        description="Find every place that enables, requires, imports, forbids or hard-codes "
        "FlashAttention, xformers or SDPA, whether it is live, and what each program gets. "
        "Nothing that is read is imported or run.",
    )
    parser.add_argument(
        "paths", nargs="*", default=["."], metavar="PATH", help="a tree or a file (default: .)"
    )
    parser.add_argument("--all", action="store_true", help="list dead code and tools too")
    parser.add_argument("--json", metavar="FILE", help="write attnswitch.scan/1 (- for stdout)")
    parser.add_argument("--sarif", metavar="FILE", help="write SARIF 2.1.0 (- for stdout)")
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with 1 if live code hard-codes FlashAttention (for CI and pre-commit)",
    )
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        help="with --check: a JSON of an earlier scan whose findings are accepted",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Scan and print; 1 if --check found something."""
    from attnswitch import source
    from attnswitch.source.spread import processors
    from attnswitch.source.text import render

    scans = [source.scan(path, processors()) for path in args.paths]
    gc.freeze()  # what is left of the trees is not looked through once more at the end
    to_stdout = "-" in (args.json, args.sarif)
    for scan in scans:
        if not args.check:
            text = render(scan, every=args.all, width=shutil.get_terminal_size((100, 24)).columns)
            print(text, file=sys.stderr if to_stdout else sys.stdout)
    if args.json:
        _write(args.json, [s.as_json() for s in scans])
    if args.sarif:
        _write_sarif(args.sarif, scans)
    return _check(scans, args.baseline, to_stdout) if args.check else 0


def _write(target: str, records: list[dict[str, object]]) -> None:
    text = json.dumps(records[0] if len(records) == 1 else records, indent=2)
    put(target, text)


def _write_sarif(target: str, scans: list[Scan]) -> None:
    from importlib.metadata import PackageNotFoundError, version

    from attnswitch.source.sarif import as_sarif

    try:
        ours = version("attnswitch")
    except PackageNotFoundError:
        ours = "0"
    report = as_sarif(scans[0], ours)
    for scan in scans[1:]:
        report["runs"].extend(as_sarif(scan, ours)["runs"])  # type: ignore[attr-defined,arg-type]
    put(target, json.dumps(report, indent=2))


def put(target: str, text: str) -> None:
    """Write text to a file, or to standard output for `-`."""
    from attnswitch.errors import InputError

    if target == "-":
        print(text)
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {target!r}: {error.strerror or error}") from error


def _check(scans: list[Scan], baseline: str | None, to_stdout: bool) -> int:
    from attnswitch.source.baseline import accepted, read_baseline
    from attnswitch.source.tree import kind_of

    known = read_baseline(baseline) if baseline else None
    found = [f for s in scans for f in s.hard_coded() if not accepted(f, known)]
    for finding in found:
        _report(finding, to_stdout)
    cells = sum(kind_of(f.path) == "notebook" for f in found)
    code = len(found) - cells
    ways = [f"{code} hard-coded; make it a parameter: attnswitch patch"] if code else []
    ways += [f"{cells} hard-coded in notebooks: change the cells there"] if cells else []
    for way in ways:
        print(way, file=sys.stderr)
    return 1 if found else 0


def _report(finding: Finding, to_stdout: bool) -> None:
    stream = sys.stderr if to_stdout else sys.stdout
    print(f"{finding.path}:{finding.line}: {finding.mechanism}: {finding.message}", file=stream)
