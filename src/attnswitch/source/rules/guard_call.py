"""`replace_attention()` -> `if <the parameter>: replace_attention()`."""

from __future__ import annotations

import libcst as cst

from attnswitch.source.plan import Edit

NAME = "guard_call"
NODES = (cst.SimpleStatementLine,)


def apply(
    edit: Edit, original: cst.CSTNode, updated: cst.CSTNode, at: tuple[int, int]
) -> cst.CSTNode | None:
    """Put the call on this line behind a test."""
    if at[0] != edit.line or not isinstance(updated, cst.SimpleStatementLine):
        return None
    if len(updated.body) != 1 or not isinstance(updated.body[0], cst.Expr):
        return None
    return cst.If(
        leading_lines=updated.leading_lines,
        test=cst.parse_expression(edit.test),
        body=cst.IndentedBlock([updated.with_changes(leading_lines=[])]),
    )
