"""A demand for FlashAttention holds only where it was asked for.

`assert test` -> `assert not <the parameter> or (test)`, and
`if test: raise` -> `if <the parameter> and (test): raise`.
"""

from __future__ import annotations

import libcst as cst

from attnswitch.source.plan import Edit

NAME = "relax"
NODES = (cst.Assert, cst.If)


def apply(
    edit: Edit, original: cst.CSTNode, updated: cst.CSTNode, at: tuple[int, int]
) -> cst.CSTNode | None:
    """Add the parameter to the test of the statement at this position."""
    if at != (edit.line, edit.column):
        return None
    assert isinstance(updated, (cst.Assert, cst.If))
    asked = _in_parentheses(cst.parse_expression(edit.test))
    test = _in_parentheses(updated.test)
    if isinstance(updated, cst.Assert):
        denied = cst.UnaryOperation(operator=cst.Not(), expression=asked)
        whole = cst.BooleanOperation(left=denied, operator=cst.Or(), right=test)
        return updated.with_changes(test=whole, whitespace_after_assert=cst.SimpleWhitespace(" "))
    whole = cst.BooleanOperation(left=asked, operator=cst.And(), right=test)
    return updated.with_changes(test=whole, whitespace_before_test=cst.SimpleWhitespace(" "))


def _in_parentheses(node: cst.BaseExpression) -> cst.BaseExpression:
    simple = (cst.Name, cst.Attribute, cst.Call)
    if node.lpar or isinstance(node, simple):
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
