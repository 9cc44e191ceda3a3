"""Python files that are configurations: they assign dictionaries, and are loaded by their path."""

from __future__ import annotations

import ast

from attnswitch.source import words
from attnswitch.source.project import Module, Project, dotted_text

#: Configurations of a tree that are followed; more say nothing new.
MOST_CONFIGURATIONS = 24


def is_configuration(module: Module) -> bool:
    """True for Python files that only assign dictionaries, as mmengine's configurations do."""
    holds = False
    for node in module.tree.body:
        if isinstance(node, ast.Assign):
            holds = holds or _is_dictionary(node.value)
        elif isinstance(node, ast.Expr):
            if not isinstance(node.value, ast.Constant):
                return False
        elif not isinstance(node, (ast.AnnAssign, ast.Import, ast.ImportFrom, ast.With)):
            return False
    return holds


def model_configurations(project: Project) -> list[Module]:
    """Configurations that describe a model in a dictionary, one of each shape."""
    shapes: dict[tuple[str, ...], Module] = {}
    for module in project.modules.values():
        if _describes_a_model(module) and is_configuration(module):
            shapes.setdefault(_shape(module), module)
    return list(shapes.values())[:MOST_CONFIGURATIONS]


def _describes_a_model(module: Module) -> bool:
    """True with a `model = dict(…)` at the top."""
    for binding in module.bindings.get("model", ()):
        if _is_dictionary(getattr(binding.node, "value", None)):
            return True
    return False


def _is_dictionary(value: ast.expr | None) -> bool:
    """True for `{…}` and `dict(…)`."""
    if isinstance(value, ast.Call):
        return dotted_text(value.func) == "dict"
    return isinstance(value, ast.Dict)


def _shape(module: Module) -> tuple[str, ...]:
    """What a configuration builds and asks for; two of one shape give the same verdict."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.keyword) and node.arg:
            name = node.arg
            if name == "type" or words.is_setting(name) or words.is_switch(name):
                found.add(f"{name}={dotted_text(node.value) or ast.unparse(node.value)}")
    return tuple(sorted(found))
