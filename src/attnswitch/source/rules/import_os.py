"""Adds `import os` below the docstring and the __future__ imports."""

from __future__ import annotations

import libcst as cst

from attnswitch.source.plan import Edit

NAME = "import_os"
NODES = (cst.Module,)


def apply(
    edit: Edit, original: cst.CSTNode, updated: cst.CSTNode, at: tuple[int, int]
) -> cst.CSTNode | None:
    """Insert the import as the first statement that may stand there."""
    assert isinstance(updated, cst.Module)
    index = 0
    for index, statement in enumerate(updated.body):
        if not _must_stay_first(statement, index):
            break
    else:
        index = len(updated.body)
    added = cst.parse_statement("import os\n")
    body = list(updated.body)
    if 0 < index < len(body):
        first = body[index]
        added = added.with_changes(leading_lines=first.leading_lines)  # type: ignore[attr-defined]
        body[index] = first.with_changes(leading_lines=[])
    body.insert(index, added)
    return updated.with_changes(body=body)


def _must_stay_first(statement: cst.CSTNode, index: int) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine):
        return False
    first = statement.body[0]
    if isinstance(first, cst.ImportFrom) and isinstance(first.module, cst.Name):
        return first.module.value == "__future__"
    text = isinstance(first, cst.Expr) and isinstance(
        first.value, (cst.SimpleString, cst.ConcatenatedString)
    )
    return index == 0 and text
