"""Assignments that set the choice: configuration attributes, variables and capabilities."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.keywords import asked_family, setting
from attnswitch.source.mechanisms.options import is_options_class
from attnswitch.source.mechanisms.place import Place, constant, imports_kernel, short
from attnswitch.source.project import dotted_text
from attnswitch.source.records import Finding

_ASKS_THE_GPU = re.compile(
    r"get_device_capability|get_device_properties|is_bf16_supported|compute_capability"
)

NODES = (ast.Assign, ast.AnnAssign, ast.FunctionDef)


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield findings for assignments, and for a `_supports_…` property."""
    if isinstance(node, ast.FunctionDef):
        if node.name in words.CAPABILITY:
            yield from _capability(node, node.name, "decides by itself", place)
        return
    assert isinstance(node, (ast.Assign, ast.AnnAssign))
    if node.value is None:
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Attribute):
            yield from _attribute(node, target, node.value, place)
        elif isinstance(target, ast.Subscript):
            yield from _entry(node, target, node.value, place)
        elif isinstance(target, ast.Name):
            yield from _name(node, target.id, node.value, place)
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            for inner, value in zip(target.elts, node.value.elts, strict=False):
                if isinstance(inner, ast.Name):
                    yield from _name(node, inner.id, value, place)


def _capability(node: ast.AST, name: str, value: str, place: Place) -> Iterator[Finding]:
    if "sdpa" not in name and "flash" not in name:
        return  # FlexAttention, or any implementation
    what = "SDPA" if "sdpa" in name else "FlashAttention"
    forbids = value == "False"
    says = "does not support" if forbids else "supports"
    yield place.finding(
        node,
        "capability",
        "forbids" if forbids else "declares",
        f"the class says that it {says} {what} ({name}: {value})",
        target="sdpa" if "sdpa" in name else "flash",
    )


def _attribute(
    node: ast.AST, target: ast.Attribute, value: ast.expr, place: Place
) -> Iterator[Finding]:
    name = target.attr
    if name in words.CAPABILITY:
        yield from _capability(node, name, short(value, 20), place)
        return
    for found in setting(node, name, value, place, "write"):
        if found.mechanism == "keyword":
            found.mechanism = "config-write"
        found.role = words.role_of(dotted_text(target.value)) or words.role_of(place.module.path)
        owner = place.constructor_of
        if (
            found.effect == "enables"
            and owner is not None
            and constant(value) is not ...
            and not (dotted_text(target.value) == "self" and found.mechanism == "own-boolean")
        ):
            found.mechanism = "constructor-override"
            found.trap = "constructor wins over caller"
            found.message += f"; {owner.name} overrules whoever creates it"
        yield found


def _entry(
    node: ast.AST, target: ast.Subscript, value: ast.expr, place: Place
) -> Iterator[Finding]:
    name = constant(target.slice)
    if isinstance(name, str) and "environ" not in dotted_text(target.value):
        for found in setting(node, name, value, place, "entry"):
            if isinstance(target.value, ast.Attribute) and found.mechanism == "keyword":
                found.mechanism = "config-write"
            yield found


def _name(node: ast.AST, name: str, value: ast.expr, place: Place) -> Iterator[Finding]:
    klass = place.parents[-1] if place.parents else None
    if isinstance(klass, ast.ClassDef):
        if name in words.CAPABILITY:
            yield from _capability(node, name, short(value, 20), place)
            return
        if is_options_class(klass):
            return
    if not (words.is_setting(name) or words.is_switch(name)):
        return
    if _records_an_import(node, place):
        family = asked_family(name, value) if words.is_setting(name) else None
        if family == "flash" and isinstance(place.parents[-1], ast.Try):
            message = f"{name} depends on what is installed"
            yield place.finding(node, "on-if-importable", "enables", message)
        return
    if words.is_switch(name) and _ASKS_THE_GPU.search(ast.unparse(value)):
        message = f"{name} depends on the GPU: {short(value)}"
        yield place.finding(node, "own-boolean", "enables", message)
        return
    # A local copy of a choice says nothing new; a literal or a test of what is installed does.
    falls_back = isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or)
    if asked_family(name, value) is not None or isinstance(value, ast.IfExp) or falls_back:
        yield from setting(node, name, value, place, "variable")


def _records_an_import(node: ast.AST, place: Place) -> bool:
    """`has_flash = True` in a try that imports the package belongs to that import."""
    for parent in place.parents[-2:]:
        if isinstance(parent, ast.Try) and any(imports_kernel(s) for s in parent.body):
            return True
        if isinstance(parent, ast.ExceptHandler):
            return True
    return False
