"""Settings whose presence is tested instead of their value: writing False turns them on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.place import Place, constant
from attnswitch.source.project import dotted_text
from attnswitch.source.records import Finding

NODES = (ast.If, ast.IfExp)


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield a finding for `if hasattr(config, "use_flash_attn")` with the value unread."""
    assert isinstance(node, (ast.If, ast.IfExp))
    for test in _tests(node.test):
        name = _tested(test)
        if name is None or not words.is_switch(name):
            continue
        if name in ast.unparse(node.test).replace(ast.unparse(test), ""):
            continue
        body = node.body if isinstance(node, ast.If) else [node.body]
        if any(_reads(name, statement) for statement in body):
            continue
        yield place.finding(
            test,
            "own-boolean",
            "offers",
            f"tests that {name} is present, not what it says: {name}=False counts as on",
            trap="presence tested instead of value",
        )


def _tests(test: ast.expr) -> list[ast.expr]:
    if isinstance(test, ast.BoolOp):
        return [inner for value in test.values for inner in _tests(value)]
    return [test]


def _tested(test: ast.expr) -> str | None:
    if isinstance(test, ast.Call) and dotted_text(test.func) == "hasattr" and len(test.args) == 2:
        name = constant(test.args[1])
        return name if isinstance(name, str) else None
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.In):
        name = constant(test.left)
        return name if isinstance(name, str) else None
    return None


def _reads(name: str, statement: ast.AST) -> bool:
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and node.attr == name:
            return True
        if isinstance(node, ast.Constant) and node.value == name:
            return True
    return False
