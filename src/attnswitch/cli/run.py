"""`attnswitch run`: an unchanged script, module or command, under the switch."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from attnswitch.errors import AttnSwitchError, InputError

DESCRIPTION = """\
Run an unchanged script, module or command with FlashAttention off, on, or forbidden, its child
processes included.

  attnswitch run --attn standard train.py --epochs 1
  attnswitch run --attn standard -m llava.train.train_mem ...
  attnswitch run --forbid flash -- torchrun --nproc-per-node 2 train.py
"""
EPILOG = """\
exit status: the command's own (128 + n where signal n ended it), or 125 for attnswitch's own
failures: no process imported torch under the switch, the request cannot be met, a receipt could
not be written, or a forbidden kernel was stopped and the program went on."""
OWN_FAILURE = 125


class _Parser(argparse.ArgumentParser):
    """Splits our options from the command, and ends with 125 where they are wrong."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        own, how, command = _split(list(args or []), self)
        namespace, extra = super().parse_known_args(own, namespace)
        if extra:
            self.error(f"unrecognized arguments: {' '.join(extra)}")
        namespace.how, namespace.words = how, command
        return namespace, extra

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(OWN_FAILURE, f"{self.prog}: {message}\n")


def _split(words: list[str], parser: argparse.ArgumentParser) -> tuple[list[str], str, list[str]]:
    """Our options, how to start the rest ("script", "module" or "command"), and the rest."""
    takes_value = {
        option for action in parser._actions if action.nargs is None and action.metavar
        for option in action.option_strings
    }  # fmt: skip
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            return words[:position], "command", words[position + 1 :]
        if word == "-m":
            return words[:position], "module", words[position + 1 :]
        if not word.startswith("-") or word == "-":
            return words[:position], "script", words[position:]
        position += 2 if word in takes_value else 1
    return words, "script", []


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    general = subparsers._parser_class
    subparsers._parser_class = _Parser
    try:
        parser: argparse.ArgumentParser = subparsers.add_parser(
            "run",
            help="run an unchanged script or command under the switch",
            description=DESCRIPTION,
            epilog=EPILOG,
            usage="attnswitch run [--attn REQUEST] [--forbid flash] [--require flash] "
            "[--receipt FILE]\n                      [-m] script.py ... | -- command ...",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    finally:
        subparsers._parser_class = general
    parser.add_argument("--attn", metavar="REQUEST",
                        help="what to switch to (default: $ATTNSWITCH, else auto)")  # fmt: skip
    parser.add_argument("--forbid", metavar="FAMILY",
                        help="flash: stop at a FlashAttention kernel, and fail")  # fmt: skip
    parser.add_argument("--require", metavar="FAMILY",
                        help="flash: stop at another kernel, and fail where none ran")  # fmt: skip
    parser.add_argument("--receipt", metavar="FILE",
                        help="write what ran; further processes write FILE's name with their "
                        "process number")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command's status, or 125."""
    try:
        return _run(arguments)
    except AttnSwitchError as error:
        if arguments.debug:
            raise
        print(f"attnswitch run: {error}", file=sys.stderr)
        return OWN_FAILURE


def _run(arguments: argparse.Namespace) -> int:
    from attnswitch.cli.model_options import check_output_path
    from attnswitch.running.checkin import read_notes
    from attnswitch.running.environment import armed_environment
    from attnswitch.running.outcome import judge

    command = _command(arguments.how, arguments.words)
    if arguments.receipt == "-":
        raise InputError("--receipt takes a file; the command's own output goes to '-'")
    check_output_path(arguments.receipt)
    with tempfile.TemporaryDirectory(prefix="attnswitch-run-") as name:
        folder = Path(name)
        environment = armed_environment(
            os.environ,
            request=arguments.attn,
            forbid=arguments.forbid,
            require=arguments.require,
            receipt=arguments.receipt,
            folder=folder,
        )
        status = _start(command, environment)
        receipt = environment.get("ATTNSWITCH_RECEIPT")
        outcome = judge(
            read_notes(folder),
            status,
            required=environment.get("ATTNSWITCH_REQUIRE"),
            receipt=Path(receipt) if receipt else None,
        )
    for message in outcome.messages:
        print(f"attnswitch run: {message}", file=sys.stderr)
    return outcome.status


def _command(how: str, words: Sequence[str]) -> list[str]:
    if not words:
        raise InputError("name a script, `-m` and a module, or `--` and a command")
    if how == "command":
        return list(words)
    if how == "module":
        return [sys.executable, "-m", *words]
    if not Path(words[0]).exists():
        raise InputError(
            f"there is no script {words[0]}; to run another command, write "
            f"`attnswitch run -- {words[0]} ...`"
        )
    return [sys.executable, *words]


def _start(command: list[str], environment: dict[str, str]) -> int:
    from attnswitch.running.child import run_child

    try:
        return run_child(command, environment)
    except OSError as error:
        raise InputError(f"cannot start {command[0]}: {error.strerror}") from error
