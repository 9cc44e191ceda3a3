"""Assertions and raised errors that demand, or refuse, an implementation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.place import Place, short
from attnswitch.source.records import Finding

NODES = (ast.Assert, ast.If)
#: What a test must speak of; "flash" may also be the flash of a memory or of a product's name.
_TESTS = re.compile(
    r"flash(?:_?att|_?mha|_?sdp|[-_]?[234]\b|_\d|_available|_installed|_func|_fn|\b)|attn_impl"
    r"|attention_impl|xformers|use_sdpa|attn_backend|attention_backend",
    re.IGNORECASE,
)
_SHAPES = re.compile(r"shape|dtype|ndim|\.dim\(|needs_input_grad|size\(|len\(|allclose|isclose")


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield a finding for `assert …flash…` and for `if …flash…: raise`."""
    if isinstance(node, ast.Assert):
        text = _without_sentences(node.test)
        if _TESTS.search(text) and not _SHAPES.search(text):
            yield place.finding(
                node,
                "assertion",
                "requires" if _demands(node.test, holds=True) else "forbids",
                f"stops unless {short(node.test)}",
                trap="assert",
                fixed=_demands(node.test, holds=True, always=True),
            )
    elif isinstance(node, ast.If) and node.body and isinstance(node.body[0], ast.Raise):
        text = ast.unparse(node.test)
        if _TESTS.search(text) and not _validates(node.test) and not _SHAPES.search(text):
            demands = _demands(node.test, holds=False)
            yield place.finding(
                node,
                "assertion",
                "requires" if demands else "forbids",
                f"raises an error if {short(node.test)}",
                trap="assert",
                fixed=demands and _demands(node.test, holds=False, always=True),
            )


def _without_sentences(test: ast.expr) -> str:
    """A test as text, without the messages that it compares."""
    text = ast.unparse(test)
    for node in ast.walk(test):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            text = text.replace(ast.unparse(node), "''")
    return text


def _validates(test: ast.expr) -> bool:
    """`if impl not in [...]: raise` only checks the spelling."""
    return any(
        isinstance(n, ast.Compare) and isinstance(n.ops[0], ast.NotIn) for n in ast.walk(test)
    )


def _demands(test: ast.expr, holds: bool, always: bool = False) -> bool:
    """True if the program goes on only with FlashAttention. `holds`: it goes on if true.

    `always`: in every case, so that `assert not wanted or flash` does not count.
    """
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _demands(test.operand, not holds, always)
    if isinstance(test, ast.BoolOp):
        found = [_demands(v, holds, always) for v in test.values]
        return all(found) if always and isinstance(test.op, ast.Or) == holds else any(found)
    if isinstance(test, ast.Compare):
        values = [
            words.family_of(n.value)
            for c in [test.left, *test.comparators]
            for n in ast.walk(c)
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
        equal = isinstance(test.ops[0], (ast.Eq, ast.In, ast.Is))
        return "flash" in values and len(set(values)) == 1 and equal == holds
    names = ast.unparse(test).replace("()", "").split(".")
    name = names[-1]
    return holds and "flash" in name.lower() and not words.NEGATED.search(name)
