"""From events to a verdict: is FlashAttention on, off, or on what does it depend?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from attnswitch.source import words
from attnswitch.source.conditions import (
    by_default,
    decided_elsewhere,
    simplified,
    symbols,
    telling,
    unique,
)
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.reaching import reaching
from attnswitch.source.flow.values import Literal
from attnswitch.source.model_types import only_type
from attnswitch.source.records import Line

ROLES = ("language_model", "vision_tower")


@dataclass
class Answer:
    """The verdict for one role.

    `on` are the events that ask for FlashAttention, `literals` the conditions it depends on;
    `models` are those that pick a model, where some models are loaded with it and others without.
    """

    flash: str = "off"
    default: str = "off"
    reasons: list[str] = field(default_factory=list)
    literals: list[Literal] = field(default_factory=list)
    on: list[Event] = field(default_factory=list)
    models: list[Literal] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    loads: bool = False
    sdpa: bool = False
    xformers: bool = False


def judge(events: list[Event], role: str, scripted: bool = False) -> Answer:
    """The verdict for the language model or the vision tower.

    `scripted`: options that are not given stay at their defaults.
    """
    kinds = {"load", "write", "patch", "call"}
    events = reaching(events, lambda e: not scripted or by_default(e.guard) is not False)
    mine = _with_needed_packages(events, _of_the_role([e for e in events if e.kind in kinds], role))
    mine = _without_judges(_without_mpt(mine))
    answer = Answer()
    answer.loads = any(e.kind in {"load", "patch"} for e in mine) or any(
        e.kind == "call" for e in mine
    )
    on = simplified([e for e in mine if e.family == "flash" and not _repeats(e, mine)])
    off = [e for e in mine if e.kind == "load" and e.family != "flash"]
    if any(e.kind == "write" for e in on):
        off = [e for e in off if e.family != "configured"]
    answer.sdpa = any(e.family == "sdpa" for e in mine)
    answer.xformers = any(e.family == "xformers" for e in mine)
    if not on:
        answer.reasons = _off_reasons(off, answer)
        answer.lines = [e.source or e.at for e in off[:1]]
        return answer
    if all(any(decided_elsewhere(lit) for lit in e.guard) for e in on):
        return _left_to_config(answer, on)
    answer.on = on
    picks = _picks(on, off)
    certain = [e for e in on if not set(symbols(e.guard)) - picks]
    rivals = _rivals(certain, off, picks)
    answer.lines = unique([e.source or e.at for e in certain or on])
    answer.models = unique([lit for e in (*on, *off) for lit in e.guard if lit.names_a_model])
    answer.models += sorted(picks, key=str)
    kind = only_type(certain) if off else None
    if certain and not kind and (_outweigh(certain, rivals, picks) or _covers(certain)):
        answer.flash = answer.default = "on"
        answer.reasons = _said(certain, picks=picks)
        if off:
            answer.reasons.append(f"not asked for at {_list(_places(off))}")
        return answer
    answer.flash = "depends"
    answer.literals = telling([lit for e in on for lit in symbols(e.guard)])
    answer.reasons = _said(on)
    answer.default = _default(on)
    if certain and not answer.literals:
        # What a model runs is picked where it is loaded.
        chosen = [e for e in certain if e.kind == "load"] or certain
        answer.literals = telling(unique([lit for e in chosen for lit in _selecting(e)]))
        answer.reasons = _said(chosen, selecting=True)
        answer.default = _default_model(certain)
        if kind:
            answer.literals, answer.default = [kind], "depends"
        answer.reasons.append(f"other models are loaded without it at {_list(_places(off))}")
    return answer


def _of_the_role(events: list[Event], role: str) -> list[Event]:
    """The events of one role; parts of other kinds count with the language model.

    Beside a language model they count where they ask for FlashAttention, and are no rivals.
    """
    mine = [e for e in events if e.role == role]
    if role != "language_model":
        return mine
    alone = not any(e.kind == "load" for e in mine)
    others = {id(e) for e in events if e.role == "other" and (alone or e.family == "flash")}
    return [e for e in events if e.role == role or id(e) in others]


def _picks(on: list[Event], off: list[Event]) -> set[Literal]:
    """Options that pick one load or another, and say nothing of attention.

    `if args.vision_tower is None: a plain Llama, else: LLaVA`: they weigh as the name of a model
    does. An option that changes what one and the same load asks for is no such pick, and where
    an option of the project decides about attention there is none.
    """
    if any(
        words.is_setting(lit.name) or words.is_switch(lit.name)
        for e in on
        for lit in symbols(e.guard)
    ):
        return set()
    found = {
        lit
        for e in on
        if e.kind == "load"
        for lit in symbols(e.guard)
        if lit.kind == "option" and not (words.is_setting(lit.name) or words.is_switch(lit.name))
    }
    for event in on:
        conditions = set(symbols(event.guard))
        if event.kind != "load":
            found -= conditions
        inverse = {lit.inverse(): lit for lit in conditions & found}
        for other in off:
            if other.at == event.at:
                found -= {lit for opposite, lit in inverse.items() if opposite in other.guard}
    return found


def _with_needed_packages(events: list[Event], mine: list[Event]) -> list[Event]:
    """Take as installed what the program cannot start without."""
    needed = {e.detail.split(".")[0] for e in events if e.kind == "need" and not e.guard}
    if not needed:
        return mine
    found = []
    for event in mine:
        about = {lit for lit in event.guard if lit.kind == "package" and lit.name in needed}
        if not any(lit.negated for lit in about):
            found.append(replace(event, guard=event.guard - about))
    return found


def _models(event: Event) -> list[Literal]:
    """The conditions of an event that pick a model by its name."""
    found = [lit for lit in event.guard if lit.names_a_model]
    asked = [lit for lit in found if not lit.negated]
    return sorted(asked or found, key=str)


def _selecting(event: Event) -> list[Literal]:
    """What picks the model of an event: its name, else the tests on the way that held."""
    tests = [lit for lit in event.guard if lit.kind == "branch" and not lit.negated]
    return _models(event) or sorted(tests, key=str)[:2]


def _default_model(certain: list[Event]) -> str:
    held = {by_default(frozenset(_models(e)), models=True) for e in certain}
    return "on" if True in held else "depends" if None in held else "off"


def _outweigh(certain: list[Event], rivals: list[Event], picks: set[Literal]) -> bool:
    """On for nearly every model: one that is loaded without it does not change the verdict.

    Where the name of the model picks one load or the other, it is the name that decides.
    """
    by_name = all(any(not lit.negated for lit in _models(e)) for e in certain) and any(
        _models(e) for e in rivals
    )
    weight = 2 if by_name else 1
    loads = [e for e in certain if e.kind == "load"]  # what such a model runs adds no weight
    ours, theirs = len(_places(loads or certain)), weight * len(_places(rivals))
    picked = by_name or any(picks & e.guard for e in certain)
    return ours > theirs or (ours == theirs and not picked)


def settle(answer: Answer) -> None:
    """Nobody types at a script: the options that it does not give stay at their defaults."""
    if answer.flash != "depends" or not answer.on or not answer.literals:
        return
    if not all(symbols(e.guard) for e in answer.on):
        return  # it depends on the model
    held = {_without_options(symbols(e.guard)) for e in answer.on}
    if True in held:
        answer.flash = "on"
    elif None not in held:
        answer.flash = "off"
    if answer.flash != "depends":
        answer.default, answer.literals = answer.flash, []
        so = "so by default" if answer.flash == "on" else "not given here"
        answer.reasons = [f"{reason} ({so})" for reason in answer.reasons]


def _without_options(conditions: list[Literal]) -> bool | None:
    options = [lit.by_default for lit in conditions if lit.kind == "option"]
    if False in options:
        return False
    return True if len(options) == len(conditions) and None not in options else None


def _rivals(certain: list[Event], off: list[Event], picks: set[Literal]) -> list[Event]:
    """The loads to weigh against: unconditional ones, and in the same files if there are any."""
    files = {e.at.path for e in certain}
    opposite = {lit.inverse() for lit in picks} | picks
    places: dict[Line, list[Event]] = {}
    for event in off:
        places.setdefault(event.at, []).append(event)
    loads = [e for events in places.values() for e in simplified(events)]
    plain = [e for e in loads if not set(symbols(e.guard)) - opposite]
    return [e for e in plain if e.at.path in files] or plain


def _left_to_config(answer: Answer, on: list[Event]) -> Answer:
    """Only the configuration of the loaded model can ask for it."""
    fields = [[lit for lit in e.guard if decided_elsewhere(lit)] for e in on]
    answer.flash = answer.default = "depends"
    if any(all(lit.by_default is True for lit in held) for held in fields):
        answer.default = "on"
    answer.literals = unique([lit for held in fields for lit in held])[:3]
    answer.lines = unique([e.at for e in on])
    answer.reasons = [f"{on[0].at} does what the model's configuration says"]
    return answer


def _without_mpt(events: list[Event]) -> list[Event]:
    """Leave MPT's own switch out where other models are loaded too: it is MPT's alone."""
    others = [
        e
        for e in events
        if "attn_config" not in e.detail
        and not any(
            lit.kind == "branch" and not lit.negated and "'mpt'" in lit.name for lit in e.guard
        )
    ]
    return others if any(e.kind == "load" for e in others) else events


def _without_judges(events: list[Event]) -> list[Event]:
    """Leave models that only score what others write out, where others are loaded too."""
    others = [e for e in events if e.detail != "AutoModelForSequenceClassification"]
    return others if any(e.kind == "load" for e in others) else events


def _repeats(event: Event, mine: list[Event]) -> bool:
    """A kernel or load behind `config._attn_implementation == …` repeats the load around it.

    A field that a configuration of the tree declares, `attn_implementation`, is what the checkpoint
    says, whatever a plain load asks for: there only what asks for FlashAttention is repeated.
    """
    decides = [lit for lit in event.guard if decided_elsewhere(lit)]
    if not decides:
        return False
    of_transformers = any(lit.name.startswith("_") or lit.by_default is None for lit in decides)
    return any(
        e.kind in {"load", "write"}
        and (of_transformers or e.family == "flash")
        and not any(decided_elsewhere(lit) for lit in e.guard)
        for e in mine
    )


def _covers(certain: list[Event]) -> bool:
    """A patch, a write or a kernel decides, whatever a load leaves open."""
    return any(
        e.kind in {"patch", "write", "call"}
        and not [x for x in e.guard if x.kind == "branch" or x.names_a_model]
        for e in certain
    )


def _places(events: list[Event]) -> list[Line]:
    return unique([e.at for e in events])


def _distinct(events: list[Event]) -> list[Event]:
    seen: dict[tuple[Line, tuple[str, ...]], Event] = {}
    for event in events:
        seen.setdefault((event.source or event.at, tuple(map(str, symbols(event.guard)))), event)
    return list(seen.values())


def _default(on: list[Event]) -> str:
    held = {by_default(e.guard) for e in on}
    if True in held:
        return "on"
    return "off" if held == {False} else "depends"


#: What one event does, and what several do.
_VERBS = {
    "load": ("asks for it", "ask for it"),
    "write": ("writes it into the configuration", "write it into the configuration"),
    "patch": ("replaces attention with it", "replace attention with it"),
    "call": ("runs it", "run it"),
}


def _said(
    events: list[Event], picks: set[Literal] | None = None, selecting: bool = False
) -> list[str]:
    """What events do, in sentences: those that do the same in one file share one."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for event in _distinct(events):
        asked = [lit for lit in symbols(event.guard) if lit not in (picks or ())]
        conditions = telling([*asked, *(_selecting(event) if selecting else ())])
        held = " and ".join(str(c) for c in conditions)
        at = event.source or event.at
        groups.setdefault((at.path, event.kind, held), []).append(at.line)
    sentences = []
    for (path, kind, held), numbers in groups.items():
        lines = list(dict.fromkeys(str(n) for n in numbers))
        where = ", ".join(lines[:-1]) + (" and " if lines[1:] else "") + lines[-1]
        text = f"{path}:{where} {_VERBS[kind][len(lines) > 1]}"
        sentences.append(f"{text} if {held}" if held else text)
    more = len(sentences) - 3
    return sentences[:3] + ([f"and {more} more places"] if more > 0 else [])


def _list(lines: list[Line]) -> str:
    text = ", ".join(str(at) for at in lines[:3])
    return text + (f" and {len(lines) - 3} more" if len(lines) > 3 else "")


def _off_reasons(off: list[Event], answer: Answer) -> list[str]:
    if not off:
        return ["no model is loaded"] if not answer.loads else ["nothing asks for it"]
    asked = Counter(e.family for e in off)
    first = f"{off[0].source or off[0].at}"
    if asked.get("eager") or asked.get("off"):
        return [f"{first} asks for another implementation"]
    if asked.get("sdpa"):
        return [f"{first} asks for sdpa"]
    return [f"{off[0].at} leaves the choice to the library"]
