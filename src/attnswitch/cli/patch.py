"""`attnswitch patch`: make FlashAttention a parameter of a source tree."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnswitch.source import Patch


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "patch",
        help="turn hard-coded FlashAttention into one parameter",
        description="Print a diff that turns each hard-coded choice of FlashAttention into the "
        "parameter use_flash_attention: an option where the program keeps options, else the "
        "environment variable USE_FLASH_ATTENTION. The patched code does not need attnswitch.",
    )
    parser.add_argument("path", nargs="?", default=".", metavar="PATH", help="(default: .)")
    parser.add_argument("--write", action="store_true", help="apply the change to the files")
    parser.add_argument("--check", action="store_true", help="exit with 1 if there is a change")
    parser.add_argument(
        "--remove-dead", action="store_true", help="remove modules of dead attention patches"
    )
    parser.add_argument("--json", metavar="FILE", help="write the outcome (- for stdout)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or apply the patch; 1 if --check finds a change to make."""
    from attnswitch import source

    patch = source.patch(args.path, remove_dead=args.remove_dead)
    if args.json != "-":
        sys.stdout.write(patch.diff())
    _report(patch)
    if args.json:
        _write_json(args.json, patch)
    if args.check:
        return 1 if patch.changed else 0
    if args.write:
        patch.write()
        print(f"{len(patch.changed)} files changed", file=sys.stderr)
    return 2 if patch.failed and not patch.changed else 0


def _report(patch: Patch) -> None:
    for note in patch.untouched:
        where = f"{note.path}:{note.line}"
        print(f"left alone: {where} ({note.mechanism}): {note.reason}", file=sys.stderr)
    for failure in patch.failed:
        print(f"not changed: {failure.path}: {failure.reason}", file=sys.stderr)


def _write_json(target: str, patch: Patch) -> None:
    from attnswitch.cli.scan import put

    record = {
        "schema": "attnswitch.patch/1",
        "root": patch.root,
        "changed": [{"path": c.path, "rules": list(c.rules)} for c in patch.changed],
        "untouched": [
            {"path": u.path, "line": u.line, "mechanism": u.mechanism, "reason": u.reason}
            for u in patch.untouched
        ],
        "failed": [{"path": f.path, "reason": f.reason} for f in patch.failed],
        "diff": patch.diff(),
    }
    put(target, json.dumps(record, indent=2))
