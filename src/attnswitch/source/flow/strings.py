"""Texts: what string methods and path functions make of a text that is known or chosen."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import replace

from attnswitch.source.flow.values import HOLE, Chosen, Const, Row, Template, Unknown, Value

#: Methods of a text that give a text, or a row of texts, and change no meaning.
_METHODS = frozenset(
    {"lower", "upper", "strip", "lstrip", "rstrip", "split", "rsplit", "replace", "removesuffix"}
    | {"removeprefix", "casefold", "title", "startswith", "endswith", "format"}
)
#: Functions of a path that give a part of it, or the same path written otherwise.
_PATHS: dict[str, Callable[[str], str]] = {
    "basename": posixpath.basename,
    "normpath": posixpath.normpath,
    "dirname": posixpath.dirname,
    "expanduser": str,
    "abspath": str,
    "realpath": str,
}


#: Stands before the name of a method of a text, as a function outside the tree.
METHOD_OF = "<text>."


def is_method(name: str) -> bool:
    """True for the methods that `method` follows."""
    return name in _METHODS


def method(text: Value, name: str, arguments: list[Value]) -> Value | None:
    """`text.name(arguments)`; None if that is not known."""
    if isinstance(text, Chosen):
        return None if name.endswith("with") or name == "format" else replace(text, derived=True)
    if not (isinstance(text, Const) and isinstance(text.value, str)):
        return None
    if not all(isinstance(a, Const) for a in arguments):
        return None
    plain = [a.value for a in arguments if isinstance(a, Const)]
    try:
        result = getattr(text.value, name)(*plain)
    except (TypeError, ValueError, IndexError, KeyError):
        return None
    if isinstance(result, list):
        return Row(tuple(Const(part, text.at) for part in result))
    return Const(result, text.at)


def path_function(name: str, arguments: list[Value]) -> Value | None:
    """`os.path.basename(x)` and its kin; None if it is no such function."""
    if name not in _PATHS or len(arguments) != 1:
        return None
    text = arguments[0]
    if isinstance(text, Chosen):
        return replace(text, derived=True)
    if isinstance(text, Const) and isinstance(text.value, str):
        return Const(_PATHS[name](text.value), text.at)
    return None


def joined(parts: list[Value]) -> Value:
    """Texts written one after the other; what is not known leaves a hole."""
    if all(isinstance(p, Const) for p in parts):
        return Const("".join(str(p.value) for p in parts if isinstance(p, Const)))
    return Template("".join(_shown(p) for p in parts))


def _shown(part: Value) -> str:
    if isinstance(part, Const):
        return str(part.value)
    return part.text if isinstance(part, Template) else HOLE


def added(left: Value, right: Value) -> Value:
    """`left + right` of texts or of rows."""
    if isinstance(left, Row) and isinstance(right, Row):
        return Row((*left.items, *right.items))
    texts = [v for v in (left, right) if isinstance(v, Template) or _is_text(v)]
    if len(texts) == 2 or (texts and isinstance(texts[0], Template)):
        return joined([left, right])
    if _is_text(left) and isinstance(right, (Chosen, Unknown)):
        return joined([left, right])
    return Unknown("sum")


def _is_text(value: Value) -> bool:
    return isinstance(value, Const) and isinstance(value.value, str)
