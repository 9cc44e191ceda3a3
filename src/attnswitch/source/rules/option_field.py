"""Adds the field `use_flash_attention: bool` at the end of an options dataclass."""

from __future__ import annotations

import libcst as cst

from attnswitch.source.plan import OPTION, Edit

NAME = "option_field"
NODES = (cst.ClassDef,)
HELP = "False turns FlashAttention off; True leaves the choice as it was."


def apply(
    edit: Edit, original: cst.CSTNode, updated: cst.CSTNode, at: tuple[int, int]
) -> cst.CSTNode | None:
    """Append the field to the class of this name."""
    assert isinstance(updated, cst.ClassDef)
    if updated.name.value != edit.names[0] or at[0] > edit.line + 20 or at[0] < edit.line - 20:
        return None
    if not isinstance(updated.body, cst.IndentedBlock):
        return None
    value = "True"
    if edit.text:
        value = f'{edit.text}(default=True, metadata={{"help": "{HELP}"}})'
    field = cst.parse_statement(f"{OPTION}: bool = {value}\n")
    statements = list(updated.body.body)
    index = len(statements)
    while index and isinstance(statements[index - 1], (cst.FunctionDef, cst.ClassDef)):
        index -= 1
    statements.insert(index, field)
    return updated.with_changes(body=updated.body.with_changes(body=statements))
