"""Which calls a rule speaks of, as a region in the space of facts; regions can be subtracted.

So it can be told from a policy alone whether a rule can match any call at all, and whether the
rules above it leave it any. A fact's values are a set of words, a set of whole numbers, or, where
neither can be listed (patterns, versions, variables), statements that hold or do not. A region is
the product of one such set a fact; a fact that it does not name is free.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from attnswitch.policy.conditions import (
    DEVICES,
    MASKS,
    PHASES,
    ROLES,
    Condition,
    Flag,
    NumberTest,
    Words,
)
from attnswitch.policy.number_ranges import EVERY_NUMBER, Numbers, whole

# More pieces than this are not followed up: the rule then counts as reachable.
MOST_PIECES = 5_000


@dataclass(frozen=True)
class _Statements:
    """Statements that hold and statements that do not."""

    true: frozenset[object] = frozenset()
    false: frozenset[object] = frozenset()

    def __and__(self, other: _Statements) -> _Statements:
        return _Statements(self.true | other.true, self.false | other.false)

    def __bool__(self) -> bool:
        return not self.true & self.false


Values = frozenset[object] | Numbers | _Statements
Region = dict[str, Values]

# A dtype, a device or a role that nobody named is among these, so that no list swallows it all.
_UNNAMED = "\0any other"
_ALL_WORDS: dict[str, frozenset[object]] = {
    "role": frozenset(ROLES),
    "phase": frozenset(PHASES),
    "mask": frozenset(MASKS),
    "device": frozenset((*DEVICES, _UNNAMED)),
    "dtype": frozenset(("float16", "bfloat16", "float32", "float64", _UNNAMED)),
    "training": frozenset((True, False)),
}
_ANY_LENGTH: Region = {fact: whole(0) for fact in ("q_length", "kv_length", "batch", "head_dim")}


def region_of(conditions: Iterable[Condition]) -> Region:
    """The region in which all conditions hold."""
    region: Region = {}
    for condition in conditions:
        values = _values_of(condition)
        if condition.fact in region:
            values = region[condition.fact] & values  # type: ignore[operator]
        region[condition.fact] = values
    if "capability" in region:
        cuda: Values = frozenset(("cuda",))
        region["device"] = region.get("device", cuda) & cuda  # type: ignore[operator]
    return region


def possible(region: Region) -> list[Region]:
    """The parts of a region in which a call can lie.

    Towers and projectors are in phase `vision`, decoding has one query row, prefilling several.
    """
    by_phase: list[Region] = [
        {"role": frozenset(ROLES[:2]), "phase": frozenset(("vision",))},
        {"role": frozenset(ROLES[2:]), "phase": frozenset(("decode",)), "q_length": whole(1, 1)},
        {"role": frozenset(ROLES[2:]), "phase": frozenset(("prefill",)), "q_length": whole(2)},
    ]
    whole_calls = intersect(region, _ANY_LENGTH)
    if whole_calls is None:
        return []
    return [part for facts in by_phase if (part := intersect(whole_calls, facts))]


def intersect(one: Region, other: Region) -> Region | None:
    """The calls in both, or None where there are none."""
    found = dict(one)
    for fact, values in other.items():
        both = found[fact] & values if fact in found else values  # type: ignore[operator]
        if not both:
            return None
        found[fact] = both
    return found if all(found.values()) else None


def subtract(regions: list[Region], taken: Region) -> list[Region]:
    """The parts of `regions` outside `taken`."""
    left: list[Region] = []
    for region in regions:
        if intersect(region, taken) is None:
            left.append(region)
            continue
        inside = dict(region)
        for fact, values in taken.items():
            for outside in _without(fact, inside.get(fact), values):
                left.append({**inside, fact: outside})
            both = inside[fact] & values if fact in inside else values  # type: ignore[operator]
            inside[fact] = both
    return left


def _without(fact: str, have: Values | None, taken: Values) -> list[Values]:
    """The values of a fact that are in `have` (None: any) and not in `taken`, as sets."""
    if isinstance(taken, Numbers):
        rest = (have if isinstance(have, Numbers) else EVERY_NUMBER) - taken
        return [rest] if rest else []
    if isinstance(taken, _Statements):
        already = have if isinstance(have, _Statements) else _Statements()
        # Not all of the statements hold: the first is false, or it holds and the second is, ...
        found, held = [], already
        for statement in sorted(taken.true, key=repr):
            one = held & _Statements(false=frozenset((statement,)))
            if one:
                found.append(one)
            held = held & _Statements(true=frozenset((statement,)))
        return list(found)
    words = (have if isinstance(have, frozenset) else _ALL_WORDS[fact]) - taken  # type: ignore[operator]
    return [words] if words else []


def _values_of(condition: Condition) -> Values:
    test = condition.test
    if isinstance(test, Words):
        return frozenset(test.words)
    if isinstance(test, Flag):
        return frozenset((test.wanted,))
    if isinstance(test, NumberTest):
        return test.numbers
    if hasattr(test, "wanted"):  # packages and variables: each is a statement of its own
        return _Statements(frozenset(test.wanted))
    return _Statements(frozenset((test,)))


def covered(region: list[Region], above: Iterable[Region]) -> bool:
    """Whether the regions above leave nothing of `region`."""

    def cut(left: list[Region], taken: Region) -> list[Region]:
        return subtract(left, taken) if len(left) < MOST_PIECES else left

    return not reduce(cut, above, region)
