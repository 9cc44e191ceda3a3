"""`attnswitch`: find the command, run it, and turn errors into one line and an exit status."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from attnswitch.errors import AttnSwitchError

COMMANDS = (
    "compare", "run", "trace", "verify", "bench", "history", "estimate", "explain", "doctor",
    "scan", "patch",
)  # fmt: skip

EPILOG = """\
requests: standard (FlashAttention off), flash (on), no-flash, auto, fused, a backend (blockwise,
math, eager, reference, efficient, flash_attn), or a policy file (.yaml, .yml, .json).
exit status: 0 yes or done; 1 the check's answer is no; 2 the request or input is wrong;
3 it cannot be met on this machine."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; imports no torch."""
    parser = argparse.ArgumentParser(
        prog="attnswitch",
        description="Turn FlashAttention off, or on, in LLaVA and every project built like it; "
        "prove which attention kernel ran; say whether the outputs agree.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name in COMMANDS:
        import_module(f"attnswitch.cli.{name}").add_parser(subparsers)
    for name, command in subparsers.choices.items():
        if name != "run":  # whose further arguments are the script's
            command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS,
                                 help=argparse.SUPPRESS)  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = build_parser().parse_args(argv)
    # Else the profiler writes a line to standard error at each start and stop, and the allocator
    # one on memory that is older than the profile; torch reads both when it is imported.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    if arguments.command != "run":  # a script's own warnings are its own
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    arguments.command_line = list(sys.argv[1:] if argv is None else argv)
    try:
        return arguments.run(arguments)
    except AttnSwitchError as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"attnswitch {arguments.command}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"attnswitch {arguments.command}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141


class _Version(argparse.Action):
    """Prints the version; looks it up only then, since that takes as long as a small scan."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from attnswitch.environment import version_of

        print(f"attnswitch {version_of('attnswitch') or 'unknown'}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
