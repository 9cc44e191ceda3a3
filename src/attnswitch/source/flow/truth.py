"""When a test holds: known, or under which conditions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

from attnswitch.source.flow.values import (
    ALWAYS,
    CONTAINS,
    Available,
    Choice,
    Chosen,
    Class,
    Const,
    External,
    Function,
    Guard,
    Instance,
    Literal,
    Loaded,
    Mapping,
    Row,
    Template,
    Value,
    alternatives,
)


@dataclass(frozen=True)
class Truth:
    """`known` if it is decided; else the conditions of either side."""

    known: bool | None
    yes: Guard = ALWAYS
    no: Guard = ALWAYS

    def inverse(self) -> Truth:
        """The truth of `not test`."""
        return Truth(None if self.known is None else not self.known, self.no, self.yes)


TRUE, FALSE = Truth(True), Truth(False)


def of(literal: Literal) -> Truth:
    """The truth of one symbolic condition."""
    return Truth(None, frozenset({literal}), frozenset({literal.inverse()}))


def installed(package: str) -> Truth:
    """A package can be imported, or not."""
    return of(Literal("package", package, "true"))


def branch(text: str) -> Truth:
    """A test that says nothing about attention."""
    return of(Literal("branch", text, "true"))


def truth_of(value: Value, text: str) -> Truth:
    """When a value counts as true; `text` names the test if that is unknown."""
    if isinstance(value, Const):
        return Truth(bool(value.value))
    if isinstance(value, Chosen):
        default = value.default
        held = bool(default.value) if isinstance(default, Const) else None
        return of(Literal(value.kind, value.name, "true", by_default=held, shown=value.shown))
    if isinstance(value, Available):
        return of(Literal("package", value.package, "true"))
    if isinstance(value, (Function, Class, Instance, External, Loaded)):
        return TRUE
    if isinstance(value, (Row, Mapping)) and not getattr(value, "rest", False):
        return Truth(bool(value.items))
    if isinstance(value, Choice):
        return _joined([(g, truth_of(v, text)) for g, v in value.options], text)
    return branch(text)


def _joined(parts: list[tuple[Guard, Truth]], text: str) -> Truth:
    known = {t.known for _, t in parts}
    if len(known) == 1 and None not in known:
        return Truth(known.pop())
    yes = [g | t.yes for g, t in parts if t.known is not False]
    no = [g | t.no for g, t in parts if t.known is not True]
    fallback = branch(text)
    return Truth(
        None,
        yes[0] if len(yes) == 1 else frozenset.intersection(*yes) or fallback.yes,
        no[0] if len(no) == 1 else frozenset.intersection(*no) or fallback.no,
    )


def both(parts: list[Truth], text: str) -> Truth:
    """The truth of `a and b and …`."""
    if any(p.known is False for p in parts):
        return FALSE
    open_parts = [p for p in parts if p.known is None]
    if not open_parts:
        return TRUE
    if len(open_parts) == 1:
        return open_parts[0]
    yes = frozenset().union(*(p.yes for p in open_parts))
    return Truth(None, yes, branch(f"not ({text})").yes)


def either(parts: list[Truth], text: str) -> Truth:
    """The truth of `a or b or …`."""
    denied = both([p.inverse() for p in parts], f"not ({text})").inverse()
    names = [next(iter(p.yes)) for p in parts if p.known is None and len(p.yes) == 1]
    if len(names) == len(parts) and all(n.names_a_model and not n.negated for n in names):
        first = names[0]
        if all((n.kind, n.name) == (first.kind, first.name) for n in names):
            want = CONTAINS + " or ".join(n.want.removeprefix(CONTAINS) for n in names)
            held = [n.by_default for n in names]
            default = True if True in held else None if None in held else False
            one = replace(first, want=want, by_default=default)
            return Truth(None, frozenset({one}), denied.no)
    return denied


_COMPARE: dict[str, Callable[[object, object], bool]] = {
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Is": operator.is_,
    "IsNot": operator.is_not,
    "In": lambda a, b: a in b,  # type: ignore[operator]
    "NotIn": lambda a, b: a not in b,  # type: ignore[operator]
    "Lt": operator.lt,  # type: ignore[dict-item]
    "LtE": operator.le,  # type: ignore[dict-item]
    "Gt": operator.gt,  # type: ignore[dict-item]
    "GtE": operator.ge,  # type: ignore[dict-item]
}
_NEGATIVE = {"NotEq": "Eq", "IsNot": "Is", "NotIn": "In"}
_SIGNS = {"Eq": "==", "Is": "is", "In": "in"}


def plain(value: Value) -> object:
    """The Python value of a constant or of a row of constants, else Ellipsis."""
    if isinstance(value, Const):
        return value.value
    if isinstance(value, Row):
        items = [plain(i) for i in value.items]
        return ... if ... in items else tuple(items)
    if isinstance(value, Mapping) and not value.rest:
        return tuple(k for k, _ in value.items)
    return ...


def compare(left: Value, sign: str, right: Value, text: str) -> Truth:
    """The truth of `left sign right`; `sign` is the name of an ast comparison."""
    if isinstance(left, Choice):
        parts = [(g, compare(v, sign, right, text)) for g, v in alternatives(left)]
        return _joined(parts, text)
    if isinstance(right, Choice) and sign in {"In", "NotIn"}:
        parts = [(g, compare(left, sign, v, text)) for g, v in alternatives(right)]
        return _joined(parts, text)
    if sign in _NEGATIVE:
        return compare(left, _NEGATIVE[sign], right, text).inverse()
    other = plain(right)
    if isinstance(left, Const) and other is not ...:
        try:
            return Truth(bool(_COMPARE[sign](left.value, other)))
        except TypeError:
            return branch(text)
    if isinstance(left, (Instance, Function, Class, External, Template, Loaded)) and other is None:
        return Truth(sign not in {"Eq", "Is"})
    if sign == "In" and isinstance(left, Const) and isinstance(right, Chosen):
        return _contains(right, left, text)
    if isinstance(left, Chosen) and other is not ... and sign in _SIGNS and not left.derived:
        accepted = _of_all_choices(left, sign, other)
        if accepted is not None:
            return Truth(accepted)
        held: bool | None = None
        if isinstance(left.default, Const):
            try:
                held = bool(_COMPARE[sign](left.default.value, other))
            except TypeError:
                held = None
        want = f"{_SIGNS[sign]} {other!r}"
        return of(Literal(left.kind, left.name, want, by_default=held, shown=left.shown))
    if isinstance(left, Available) and isinstance(other, bool):
        truth = truth_of(left, text)
        return truth if other else truth.inverse()
    return branch(text)


def _of_all_choices(chosen: Chosen, sign: str, other: object) -> bool | None:
    """What a comparison gives for every value that the parser accepts; None if that differs."""
    if not chosen.choices or not isinstance(chosen.default, Const):
        return None
    try:
        found = {bool(_COMPARE[sign](v, other)) for v in (*chosen.choices, chosen.default.value)}
    except TypeError:
        return None
    return found.pop() if len(found) == 1 else None


def _contains(whole: Chosen, part: Const, text: str) -> Truth:
    """The truth of `'phi' in args.model_name_or_path`."""
    if not isinstance(part.value, str) or whole.kind not in {"option", "variable"}:
        return branch(text)
    default = whole.default.value if isinstance(whole.default, Const) else None
    held = part.value in default if isinstance(default, str) and not whole.derived else None
    want = f"{CONTAINS}{part.value!r}"
    return of(Literal(whole.kind, whole.name, want, by_default=held, shown=whole.shown))
