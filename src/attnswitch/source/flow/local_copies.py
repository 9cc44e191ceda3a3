"""Configurations that a function copies, changes, and hands to nobody."""

from __future__ import annotations

import ast

from attnswitch.source.project import FunctionNode, dotted_text
from attnswitch.source.walking import target_names

_COPIES = frozenset({"deepcopy", "copy", "clone"})


def handed_on(name: str, function: FunctionNode) -> bool:
    """False for `config = deepcopy(given)` of which the function only sets and reads fields.

    What is written there reaches no model. True for everything that is no copy made here.
    """
    if "." in name or not _is_a_copy(name, function):
        return True
    fields = {
        id(node.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    called = {
        id(node.func.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    return any(
        id(node) not in fields or id(node) in called
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
    )


def _is_a_copy(name: str, function: FunctionNode) -> bool:
    """True if the function binds the name, and to copies only."""
    spec = function.args
    parameters = (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg)
    if any(p is not None and p.arg == name for p in parameters):
        return False
    bound = [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        if any(name in target_names(target) for target in node.targets)
    ]
    return bool(bound) and all(
        isinstance(value, ast.Call) and dotted_text(value.func).split(".")[-1] in _COPIES
        for value in bound
    )
