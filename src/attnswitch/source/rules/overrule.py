"""After the options are parsed, an option that says no overrules the argument."""

from __future__ import annotations

import libcst as cst

from attnswitch.source.plan import Edit

NAME = "overrule"
NODES = (cst.SimpleStatementLine,)


def apply(
    edit: Edit, original: cst.CSTNode, updated: cst.CSTNode, at: tuple[int, int]
) -> cst.CSTNode | cst.FlattenSentinel | None:
    """Add `if not <the parameter>: name = "eager"` below the statement on this line."""
    if at[0] != edit.line or not isinstance(updated, cst.SimpleStatementLine):
        return None
    code = f"if not {edit.test}:\n    {edit.names[0]} = {edit.text}\n"
    added = cst.parse_statement(code)
    assert isinstance(added, cst.If) and isinstance(added.body, cst.IndentedBlock)
    # Indent as the rest of the file does, not as this string.
    block = cst.IndentedBlock(added.body.body)
    return cst.FlattenSentinel([updated, added.with_changes(body=block)])
