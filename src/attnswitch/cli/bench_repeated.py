"""`attnswitch bench --repeat N`: the same measurement N times, each in a fresh process."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from attnswitch.cli import record_options
from attnswitch.errors import UnavailableError

# What only the whole of the runs has.
_OF_THE_WHOLE = ("--json", "--report", "--plots", "--repeat")


def run_repeated(arguments: argparse.Namespace) -> int:
    """Return 0; the first status that is not, where a process has one."""
    command = [sys.executable, "-m", "attnswitch.cli.main", *_for_one(arguments.command_line)]
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "run.json"
        for number in range(arguments.repeat):
            print(f"run {number + 1} of {arguments.repeat}", file=sys.stderr, flush=True)
            # The last of an option holds: however --repeat was abbreviated, this is one run.
            done = subprocess.run([*command, "--repeat", "1", "--json", str(told)], check=False,
                                  stdout=subprocess.DEVNULL)  # fmt: skip
            if done.returncode != 0:
                return done.returncode
            found.append(json.loads(told.read_text(encoding="utf-8")))
    record = _together(arguments, [one["runs"][-1]["id"] for one in found])
    record_options.show_benchmark(record, arguments)
    record_options.write_outputs(record, arguments)
    return 0


def _for_one(words: list[str]) -> list[str]:
    """The command line without the options that concern the whole."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in _OF_THE_WHOLE:
            skip = True
        elif not word.startswith(tuple(f"{name}=" for name in _OF_THE_WHOLE)):
            kept.append(word)
    return kept


def _together(arguments: argparse.Namespace, ids: list[str]) -> dict[str, Any]:
    from attnswitch.bench.document import document
    from attnswitch.record.place import record_file
    from attnswitch.record.store import open_record

    with open_record(record_file(arguments.record), create=False) as record:
        runs = [run for run in record.runs() if run.id in ids]
        if not runs:
            raise UnavailableError("none of the runs is in the record")
        return document(runs, record.rows(ids))
