"""Environment variables that a project reads or sets to choose a kernel."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.place import Place, constant
from attnswitch.source.project import dotted_text
from attnswitch.source.records import Finding

NODES = (ast.Call, ast.Subscript, ast.Compare)


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield a finding where a variable about attention is read, written or tested for."""
    name, writes = variable(node)
    if name is None or not words.VARIABLE.search(name) or words.NOT_A_VARIABLE.search(name):
        return
    verb = "sets" if writes else "reads"
    inverted = not writes and words.NEGATED.search(name.lower()) and _turns_on(node, place)
    message = f"{verb} the environment variable {name}"
    if inverted:
        message += "; by its name it turns FlashAttention off, in fact it turns it on"
    yield place.finding(
        node,
        "environment-variable",
        "enables" if writes else "offers",
        message,
        trap="inverted variable" if inverted else None,
    )


def variable(node: ast.AST) -> tuple[str | None, bool]:
    """The name of the variable that an expression reads or writes, and whether it writes."""
    if isinstance(node, ast.Subscript) and dotted_text(node.value).endswith("environ"):
        name = constant(node.slice)
        return (name if isinstance(name, str) else None), isinstance(node.ctx, ast.Store)
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        name = constant(node.left)
        if dotted_text(node.comparators[0]).endswith("environ") and isinstance(name, str):
            return name, False
    if isinstance(node, ast.Call) and node.args:
        dotted = dotted_text(node.func)
        if dotted.endswith(("environ.get", "getenv", "environ.setdefault", "environ.pop")):
            name = constant(node.args[0])
            return (name if isinstance(name, str) else None), dotted.endswith("setdefault")
    return None, False


def _turns_on(node: ast.AST, place: Place) -> bool:
    """True if the side taken when the variable is set holds FlashAttention."""
    names: set[str] = set()
    for parent in reversed(place.parents):
        if isinstance(parent, ast.If) and any(node is n for n in ast.walk(parent.test)):
            return _holds_flash(parent.body) and not _negative(parent.test)
        if isinstance(parent, ast.IfExp) and any(node is n for n in ast.walk(parent.test)):
            return _holds_flash([parent.body]) and not _negative(parent.test)
        if isinstance(parent, ast.Assign):
            names = {t.id for t in parent.targets if isinstance(t, ast.Name)}
    return bool(names) and _later(names, place)


def _negative(test: ast.expr) -> bool:
    text = ast.unparse(test)
    return text.startswith("not ") or "!=" in text or "== '0'" in text or "is None" in text


def _later(names: set[str], place: Place) -> bool:
    for node in ast.walk(place.module.tree):
        if isinstance(node, (ast.If, ast.IfExp)):
            used = {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
            if used & names and not _negative(node.test):
                body = node.body if isinstance(node, ast.If) else [node.body]
                if _holds_flash(body):
                    return True
    return False


def _holds_flash(body: list) -> bool:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant) and words.family_of(node.value) == "flash":
                return True
            if isinstance(node, ast.Call):
                name = dotted_text(node.func).split(".")[-1]
                if words.kernel_called(name) == "flash":
                    return True
    return False
