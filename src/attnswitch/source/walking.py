"""Walking syntax trees: what a piece of code mentions, and the blocks inside a statement."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property


@dataclass
class Mentions:
    """What a piece of code names: names, attributes, imports and calls, in one walk."""

    names: list[ast.Name] = field(default_factory=list)
    attributes: list[ast.Attribute] = field(default_factory=list)
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)
    calls: list[ast.Call] = field(default_factory=list)

    @cached_property
    def called_on_itself(self) -> frozenset[str]:
        """The names of the methods that are called on `self` or `cls`."""
        return frozenset(
            call.func.attr
            for call in self.calls
            if isinstance(call.func, ast.Attribute)
            and isinstance(call.func.value, ast.Name)
            and call.func.value.id in {"self", "cls"}
        )


def children(node: ast.AST) -> list[ast.AST]:
    """The child nodes of a node, without operators and contexts.

    Much quicker than `ast.iter_child_nodes`: no generators, and only the fields that hold nodes.
    """
    kind = node.__class__
    found: list[ast.AST] = []
    names = _KNOWN.get(kind)
    for name in _branches(kind) if names is None else names:
        value = getattr(node, name, None)
        if value.__class__ is list:
            found.extend([item for item in value if isinstance(item, _AST)])
        elif isinstance(value, _AST):
            found.append(value)
    return found


_AST = ast.AST
#: The fields that hold texts and numbers, operators or contexts, in whichever node.
_NO_BRANCHES = {
    *("id", "attr", "arg", "name", "asname", "module", "level", "kind", "type_comment", "tag"),
    *("conversion", "is_async", "simple", "rest", "kwd_attrs", "ctx", "op", "ops"),
}
_KNOWN: dict[type[ast.AST], tuple[str, ...]] = {}


def _branches(kind: type[ast.AST]) -> tuple[str, ...]:
    _KNOWN[kind] = tuple(name for name in kind._fields if name not in _NO_BRANCHES)
    return _KNOWN[kind]


def mentions_of(node: ast.AST) -> Mentions:
    found = Mentions()
    todo = [node]
    while todo:
        inner = todo.pop()
        kind = inner.__class__
        if kind is ast.Name:
            found.names.append(inner)  # type: ignore[arg-type]  # mypy does not narrow by __class__
            continue
        if kind is ast.Constant:
            continue
        if kind is ast.Attribute:
            found.attributes.append(inner)  # type: ignore[arg-type]  # likewise
        elif kind is ast.Call:
            found.calls.append(inner)  # type: ignore[arg-type]  # likewise
        elif kind is ast.Import or kind is ast.ImportFrom:
            found.imports.append(inner)  # type: ignore[arg-type]  # likewise
            continue
        todo.extend(children(inner))
    return found


def nested_blocks(node: ast.AST) -> Iterator[tuple[str, list[ast.stmt]]]:
    """Yield the statement lists that a compound statement runs in its own scope."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
            yield name, block
    for handler in getattr(node, "handlers", []):
        yield "handler", handler.body
    for case in getattr(node, "cases", []):
        yield "case", case.body


def target_names(target: ast.AST) -> Iterator[str]:
    """Yield the plain names that an assignment target binds."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, (ast.Tuple, ast.List)):
        for item in target.elts:
            yield from target_names(item)
    elif isinstance(target, ast.Starred):
        yield from target_names(target.value)
