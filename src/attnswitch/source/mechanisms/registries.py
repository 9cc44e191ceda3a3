"""Registries: dictionaries from an implementation's name to its class or function."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.place import Place, constant, short
from attnswitch.source.project import dotted_text
from attnswitch.source.records import Finding

NODES = (ast.Assign, ast.Dict, ast.Subscript, ast.Call)
REGISTRY = re.compile(
    r"(?:ATTENTION|ATTN)_(?:CLASSES|FUNCTIONS|CLASS|LAYERS|TYPES|IMPLS?|MODULES)\b"
    r"|(?:^|\.)AttentionInterface(?:\._global_mapping)?$"
)
_IMPLEMENTATION = re.compile(r"flash|sdpa|scaled_dot|xformers|eager|triton|flex", re.IGNORECASE)


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield a finding where a registry is written, read or extended."""
    if isinstance(node, ast.Assign):
        name = dotted_text(node.targets[0])
        if REGISTRY.search(name) and isinstance(node.value, ast.Dict) and _names_one(node.value):
            keys = ", ".join(short(k, 30) for k in node.value.keys if k is not None)
            yield place.finding(
                node, "class-registry", "offers", f"offers attention by name: {keys}"
            )
    elif isinstance(node, ast.Dict):
        yield from _table(node, place)
    elif isinstance(node, ast.Subscript):
        name = dotted_text(node.value)
        writes = isinstance(node.ctx, ast.Store)
        put = [node.slice] if writes else []
        if REGISTRY.search(name) and _chooses_a_kernel(node.value, put, place):
            yield from _use(node, name, node.slice, writes, place)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = dotted_text(node.func.value)
        chooses = node.func.attr in {"get", "register", "update"} and bool(node.args)
        if (
            chooses
            and REGISTRY.search(name)
            and _chooses_a_kernel(node.func.value, node.args, place)
        ):
            yield from _use(node, name, node.args[0], node.func.attr != "get", place)
    elif isinstance(node, ast.Call) and dotted_text(node.func) == "setattr" and len(node.args) == 3:
        name = dotted_text(node.args[0])
        if REGISTRY.search(name):
            yield from _use(node, name, node.args[1], True, place)


def _names_one(written: ast.expr) -> bool:
    """True if a table or a row names a kernel, or says that there is none: `"eager": …`."""
    return bool(_IMPLEMENTATION.search(ast.unparse(written)))


def _chooses_a_kernel(table: ast.expr, put: list[ast.expr], place: Place) -> bool:
    """False for a table of the tree whose rows are kinds of attention, and no implementations.

    `put` is what is put into it, or asked of it, here.
    """
    if any(_names_one(item) for item in put):
        return True
    symbol = place.project.resolve_dotted(place.module, table)
    written = getattr(symbol.node, "value", None) if symbol is not None else None
    return not isinstance(written, ast.Dict) or not written.keys or _names_one(written)


def _table(node: ast.Dict, place: Place) -> Iterator[Finding]:
    keys = [constant(k) for k in node.keys]
    names = [k for k in keys if isinstance(k, str)]
    families = {words.family_of(k) for k in names}
    if "flash" not in families or len(names) < 2 or not families & {"eager", "sdpa"}:
        return
    if any(words.is_setting(n) for n in names):
        return
    at = place.parents[-1] if isinstance(place.parents[-1], (ast.Assign, ast.AnnAssign)) else node
    if isinstance(at, ast.Assign) and REGISTRY.search(ast.unparse(at.targets[0])):
        return  # the assignment has been reported
    yield place.finding(
        at, "class-registry", "offers", f"offers attention by name: {', '.join(names)}"
    )


def _use(node: ast.AST, name: str, key: ast.expr, writes: bool, place: Place) -> Iterator[Finding]:
    name = name if "Interface" in name else name.split(".")[-1]
    if writes:
        message = f"puts an implementation of its own under {short(key)} into {name}"
        yield place.finding(node, "class-registry", "enables", message)
        return
    family = words.family_of(constant(key)) if constant(key) is not ... else None
    if family == "flash":
        message = f"always takes {short(key)} from {name}"
        yield place.finding(node, "class-registry", "enables", message, fixed=True)
    else:
        message = f"takes attention from {name} by {short(key)}"
        yield place.finding(node, "class-registry", "passes", message)
