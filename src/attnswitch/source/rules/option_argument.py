"""Adds `--use-flash-attention` to an argparse parser, just before it parses."""

from __future__ import annotations

import libcst as cst

from attnswitch.source.plan import Edit

NAME = "option_argument"
NODES = (cst.SimpleStatementLine,)
_CODE = (
    '{parser}.add_argument("--use-flash-attention", nargs="?", const=True, default=True,\n'
    '    type=lambda text: text.lower() not in ("0", "false", "no"),\n'
    '    help="false turns FlashAttention off")\n'
)


def apply(
    edit: Edit, original: cst.CSTNode, updated: cst.CSTNode, at: tuple[int, int]
) -> cst.CSTNode | cst.FlattenSentinel | None:
    """Insert the declaration above the statement that parses."""
    if at[0] != edit.line or not isinstance(updated, cst.SimpleStatementLine):
        return None
    added = cst.parse_statement(_CODE.format(parser=edit.names[0]))
    assert isinstance(added, cst.SimpleStatementLine)
    return cst.FlattenSentinel(
        [
            added.with_changes(leading_lines=updated.leading_lines),
            updated.with_changes(leading_lines=[]),
        ]
    )
