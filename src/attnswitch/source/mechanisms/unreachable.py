"""Warnings that can never be printed: the switch was already and-ed with what they test."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.place import Place
from attnswitch.source.records import Finding

NODES = (ast.FunctionDef, ast.AsyncFunctionDef)


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield `x = x and there` followed by `if x and not there: warn`."""
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    anded: dict[str, str] = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.BoolOp):
            if isinstance(statement.value.op, ast.And) and len(statement.targets) == 1:
                target = ast.unparse(statement.targets[0])
                for part in statement.value.values:
                    anded[f"{target}|{ast.unparse(part)}"] = target
        elif isinstance(statement, ast.If) and _contradicts(statement.test, anded):
            text = ast.unparse(statement.test)
            if words.SWITCH.search(text):
                yield place.finding(
                    statement,
                    "unreachable-warning",
                    "declares",
                    f"can never happen: the lines above already made {text!r} false; "
                    "FlashAttention is dropped without a word where the package is missing",
                    trap="unreachable warning",
                )


def _contradicts(test: ast.expr, anded: dict[str, str]) -> bool:
    if not (isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And)):
        return False
    asked = {ast.unparse(v) for v in test.values if not isinstance(v, ast.UnaryOp)}
    denied = {
        ast.unparse(v.operand)
        for v in test.values
        if isinstance(v, ast.UnaryOp) and isinstance(v.op, ast.Not)
    }
    return any(f"{name}|{there}" in anded for name in asked for there in denied)
