"""An import at the top of a module goes into a try; its names become None without the package."""

from __future__ import annotations

import libcst as cst

from attnswitch.source.plan import Edit

NAME = "guard_import"
NODES = (cst.SimpleStatementLine,)


def apply(
    edit: Edit, original: cst.CSTNode, updated: cst.CSTNode, at: tuple[int, int]
) -> cst.CSTNode | None:
    """Wrap the import statement on this line."""
    if at[0] != edit.line or not isinstance(updated, cst.SimpleStatementLine):
        return None
    if len(updated.body) != 1 or not isinstance(updated.body[0], (cst.Import, cst.ImportFrom)):
        return None
    targets = " = ".join(edit.names)
    return cst.Try(
        leading_lines=updated.leading_lines,
        body=cst.IndentedBlock([updated.with_changes(leading_lines=[])]),
        handlers=[
            cst.ExceptHandler(
                type=cst.Name("ImportError"),
                body=cst.IndentedBlock([cst.parse_statement(f"{targets} = None\n")]),
            )
        ],
    )
