"""Configurations that a function copies, changes, and hands to nobody."""

from __future__ import annotations

import ast
from functools import lru_cache

from attnswitch.source.project import FunctionNode, dotted_text

_COPIES = frozenset({"deepcopy", "copy", "clone"})


@lru_cache(maxsize=4096)
def handed_on(name: str, function: FunctionNode) -> bool:
    """False for `config = deepcopy(given)` of which the function only sets and reads fields.

    What is written there reaches no model. True for everything that is no copy made here, and
    where a part of the copy (`config.text_config`) is read.
    """
    if "." in name:
        return True
    nodes = list(ast.walk(function))
    if not _is_a_copy(name, function, nodes):
        return True
    fields = {
        id(node.value)
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if not node.attr.endswith("config")
    }
    called = {
        id(node.func.value)
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    return any(
        id(node) not in fields or id(node) in called
        for node in nodes
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
    )


def _is_a_copy(name: str, function: FunctionNode, nodes: list[ast.AST]) -> bool:
    """True if the function binds the name, and to copies only."""
    spec = function.args
    parameters = (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg)
    if any(p is not None and p.arg == name for p in parameters):
        return False
    if any(isinstance(n, (ast.Global, ast.Nonlocal)) and name in n.names for n in nodes):
        return False
    bound = [
        node
        for node in nodes
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
    ]
    copies = [
        node
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and dotted_text(node.value.func).split(".")[-1] in _COPIES
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]
    return bool(bound) and len(bound) == len(copies)
