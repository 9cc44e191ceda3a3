"""What the guard of an event says to a user: conditions, their defaults, and how to undo them."""

from __future__ import annotations

import re
from dataclasses import replace

from attnswitch.source import words
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.values import Guard, Literal


def symbols(guard: Guard) -> list[Literal]:
    """The conditions that a user can influence, settings of configs left out."""
    return sorted(
        (
            lit
            for lit in guard
            if lit.kind != "branch" and not decided_elsewhere(lit) and not lit.names_a_model
        ),
        key=lambda lit: (lit.kind, lit.name, lit.negated),
    )


def decided_elsewhere(literal: Literal) -> bool:
    """`config._attn_implementation == …` repeats what the loading call asked for."""
    return literal.kind == "config" and words.is_setting(literal.name)


def by_default(guard: Guard, models: bool = False) -> bool | None:
    """Does a guard hold when the user sets nothing? None if that depends on the machine.

    `models`: ask the conditions that pick a model, which else are left out.
    """
    held = [lit.by_default for lit in (guard if models else symbols(guard))]
    if False in held:
        return False
    return None if None in held else True


def simplified(events: list[Event]) -> list[Event]:
    """Drop conditions that make no difference: on if x, and on if not x, is simply on."""
    asked = {e: frozenset(symbols(e.guard)) for e in unique(events)}
    shorter = _shortened(set(asked.values()))
    smallest = {g for g in shorter.values() if not any(o < g for o in shorter.values())}
    return [
        replace(event, guard=shorter[guard] | (event.guard - guard))
        for event, guard in asked.items()
        if shorter[guard] in smallest
    ]


def _shortened(guards: set[Guard]) -> dict[Guard, Guard]:
    """Each guard without the conditions that another guard makes superfluous."""
    result = {guard: guard for guard in guards}
    changed = True
    while changed:
        changed = False
        present = set(result.values())
        for guard, left in result.items():
            for literal in left:
                rest, opposite = left - {literal}, literal.inverse()
                if any(opposite in g and g - {opposite} <= rest for g in present):
                    result[guard] = rest
                    changed = True
                    break
    return result


def unique(items: list) -> list:
    """The items, each once, in their order."""
    return list(dict.fromkeys(items))


def telling(literals: list[Literal]) -> list[Literal]:
    """Leave out what another condition implies: x == 'a' says that x is not 'b'."""
    settled = {lit.name for lit in literals if lit.want.startswith("==") and not lit.negated}
    return unique(
        [
            lit
            for lit in literals
            if lit.name not in settled or (lit.want.startswith("==") and not lit.negated)
        ]
    )


def option_off(literal: Literal) -> str | None:
    """What to write on the command line so that a condition does not hold."""
    if literal.kind == "variable":
        return f"unset {literal.name}" if not literal.negated else f"set {literal.name}=1"
    if literal.kind != "option" or not (
        words.is_setting(literal.name) or words.is_switch(literal.name)
    ):
        return None
    flag = literal.shown or f"--{literal.name}"
    match = re.match(r"(?:==|=) ?'?([\w]+)", literal.want)
    if match and not literal.negated and words.is_setting(literal.name):
        return f"{flag} eager"
    if literal.want == "true":
        if literal.negated:
            return f"give {flag}"
        return f"leave {flag} out" if literal.by_default is False else f"{flag} False"
    return None
