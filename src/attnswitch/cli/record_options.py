"""Options shared by the commands that write to the record or report from it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from attnswitch.cli import model_options as options
from attnswitch.errors import InputError

ENDINGS = (".html", ".htm", ".md")


def add_record_option(parser: argparse.ArgumentParser) -> None:
    """--record."""
    parser.add_argument("--record", metavar="FILE",
                        help="the record (default: ATTNSWITCH_RECORD, else record.sqlite in the "
                        "platform's data folder)")  # fmt: skip


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """--json, --report, --plots."""
    parser.add_argument("--json", metavar="FILE",
                        help="write attnswitch.benchmark/1 (- for standard output)")  # fmt: skip
    parser.add_argument("--report", metavar="FILE", action="append", default=[],
                        help="write a page to look at (.html) or Markdown for an issue (.md); "
                        "repeatable")  # fmt: skip
    parser.add_argument("--note", default="", metavar="TEXT",
                        help="a line under the heading of a report")  # fmt: skip
    parser.add_argument("--plots", metavar="FOLDER",
                        help="write every plot as SVG and PNG")  # fmt: skip


def check_outputs(arguments: argparse.Namespace) -> None:
    """Find out before long work what could not be written.

    Raises:
        InputError: a folder is missing, or a report has an ending that is not known.
        MissingExtraError: a page or plots are asked for, and the extra `report` is not installed.
    """
    for path in (arguments.json, *arguments.report):
        options.check_output_path(path)
    for path in arguments.report:
        if not path.lower().endswith(ENDINGS):
            raise InputError(f"cannot write a report as {path}: the name must end in .html or .md")
    if arguments.plots and Path(arguments.plots).is_file():
        raise InputError(f"cannot write plots into {arguments.plots}: it is a file")
    if arguments.plots or any(not path.lower().endswith(".md") for path in arguments.report):
        from attnswitch.report.figures import import_matplotlib
        from attnswitch.report.templating import stylesheet

        import_matplotlib()
        stylesheet()


def write_outputs(record: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Write what was asked for of a benchmark record, and say where it is."""
    plots: dict[str, Path] = {}
    if arguments.plots:
        from attnswitch.report.benchmark_page import save_plots

        plots = save_plots(record, Path(arguments.plots))
        print(f"plots: {arguments.plots} ({len(plots)} as SVG and PNG)", file=sys.stderr)
    if arguments.json:
        options.write_json(record, arguments.json)
    for path in arguments.report:
        if path.lower().endswith(".md"):
            from attnswitch.report.benchmark_markdown import write_markdown

            write_markdown(record, path, plots, arguments.note)
        else:
            from attnswitch.report.benchmark_page import write_benchmark_page

            write_benchmark_page(record, path, arguments.note)
        print(f"report: {path}", file=sys.stderr)


def show_benchmark(record: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Print the tables; on standard error where standard output is the record's."""
    from rich.console import Console

    from attnswitch.report.benchmark_text import benchmark_text

    benchmark_text(record, Console(file=sys.stderr if arguments.json == "-" else sys.stdout))
