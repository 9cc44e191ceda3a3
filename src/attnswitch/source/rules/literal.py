"""`"flash_attention_2"` -> `"flash_attention_2" if <the parameter> else "eager"`; True likewise."""

from __future__ import annotations

import libcst as cst

from attnswitch.source.plan import Edit

NAME = "literal"
NODES = (cst.SimpleString, cst.Name)


def apply(
    edit: Edit, original: cst.CSTNode, updated: cst.CSTNode, at: tuple[int, int]
) -> cst.CSTNode | None:
    """Replace one literal at its exact position."""
    if at != (edit.line, edit.column):
        return None
    test = cst.parse_expression(edit.test)
    if isinstance(updated, cst.SimpleString):
        quote = '"' if updated.quote.endswith('"') else "'"
        off = cst.SimpleString(f"{quote}eager{quote}")
        return cst.IfExp(test=test, body=updated, orelse=off)
    assert isinstance(updated, cst.Name)
    if updated.value not in {"True", "False"}:
        return None
    if edit.text == "not":
        operand = test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        return cst.UnaryOperation(operator=cst.Not(), expression=operand)
    return test
