"""From what a program does to its entry point: on, off or depends, why, and what to do there."""

from __future__ import annotations

import re
from operator import itemgetter

from attnswitch.source.conditions import by_default, option_off
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.knowledge import Knowledge
from attnswitch.source.flow.values import Literal
from attnswitch.source.programs import Launch, Program, converts, kind_of_program
from attnswitch.source.project import Project
from attnswitch.source.records import EntryPoint
from attnswitch.source.runs import Runs, Start
from attnswitch.source.spread import spread
from attnswitch.source.verdict import ROLES, Answer, judge, settle

_TRAINS = re.compile(r"Trainer\(|\.backward\(")


def judge_programs(
    project: Project,
    knowledge: Knowledge,
    programs: list[Program],
    launches: list[Launch],
    processes: int = 1,
) -> list[EntryPoint]:
    """An entry point for every program, and for every line of a script that starts one."""
    runs = Runs(project, knowledge)
    place = {p.module.path: index for index, p in enumerate(programs)}
    lines: dict[int, list[tuple[int, Launch]]] = {}
    for number, launch in enumerate(launches):
        if launch.program.path in place:
            lines.setdefault(place[launch.program.path], []).append((number, launch))

    def judged(index: int) -> tuple[EntryPoint, list[tuple[int, EntryPoint]]]:
        program = programs[index]
        events, gave_up = runs.events(Start(program))
        bare = _verdict(program, events, gave_up, knowledge)
        started = [
            (number, _launched(launch, program, bare, runs, knowledge))
            for number, launch in lines.get(index, ())
        ]
        return bare, started

    # What most scripts start comes first, so that no process is left with it at the end.
    order = sorted(range(len(programs)), key=lambda index: -len(lines.get(index, ())))
    results = spread(judged, order, processes)
    found = [bare for bare, _ in results]
    seen: set[object] = set()
    for _, entry in sorted((x for _, started in results for x in started), key=itemgetter(0)):
        key = (entry.path, entry.launches, entry.flash, entry.because)
        if key not in seen:
            seen.add(key)
            found.append(entry)
    return sorted(found, key=lambda e: (e.path, e.line))


def _launched(
    launch: Launch, program: Program, bare: EntryPoint, runs: Runs, knowledge: Knowledge
) -> EntryPoint:
    """The verdict for a shell script: the program's, with its flags and variables put in."""
    bare_events = runs.events(Start(program))[0]
    asked = _asked(bare_events, models=True)
    if bare.vision_tower != "off":
        asked.add(("option", "vision_tower"))
    if any(e.kind == "patch" and e.model for e in bare_events):
        asked |= _picking(bare_events)
    flags = {n: v for n, v in launch.flags.items() if ("option", n) in asked}
    variables = {n: v for n, v in launch.variables.items() if ("variable", n) in asked}
    events, gave_up = runs.events(Start(program, flags, variables, launch.settings))
    if _language_loads(bare_events) and not _loads(events):
        # The model's path is a placeholder that no branch of the program takes.
        asked = _asked(bare_events, models=False)
        flags = {n: v for n, v in flags.items() if ("option", n) in asked}
        events, gave_up = runs.events(Start(program, flags, variables, launch.settings))
    entry = _verdict(program, events, gave_up, knowledge, scripted=True)
    entry.path, entry.line = launch.path, launch.line
    entry.launches = program.module.path
    kind = kind_of_program(launch.path)
    entry.kind = bare.kind if bare.kind != "tool" or kind == "tool" else kind
    if bare.kind == "tool" and bare.flash == "off" and not entry.decided_by:
        entry.kind = "tool"
    if entry.flash == "on" and bare.flash == "depends":
        entry.turn_off = _in_the_script(bare.turn_off, launch) or entry.turn_off
    given = [_told(n, v, launch) for n, v in flags.items()]
    given += [f"{n}={v}" for n, v in variables.items()]
    starts = f"starts {program.module.path}"
    entry.because = f"{starts}{' with ' + ' '.join(given) if given else ''}: {entry.because}"
    return entry


def _told(name: str, value: object, launch: Launch) -> str:
    """An option as a message names it: as it is typed, or with the file that says it."""
    file = launch.told.get(name)
    return f"--{name} {value}" if file is None else f"{name}: {value} ({file})"


def _in_the_script(turn_off: str, launch: Launch) -> str | None:
    """What to change in the script, or in the file that it gives, where an option decides.

    None where that is an option which the script does not give.
    """
    first, further, others = turn_off.partition("; or ")
    option = re.fullmatch(r"(?:leave )?--([\w-]+) (\S+)", first)
    name = option.group(1).replace("-", "_") if option else ""
    if first.startswith("leave") and name not in launch.flags:
        return None
    if option and name in launch.told:
        value = "false" if option.group(2) == "out" else option.group(2)
        first = f"{name}: {value} in {launch.told[name]}"
    return first + further + others


def _asked(events: list[Event], models: bool) -> set[tuple[str, str]]:
    """The options and variables that can change the verdict of a program."""
    answers = [judge(events, role) for role in ROLES]
    found = [lit for a in answers for lit in (*a.literals, *(a.models if models else ()))]
    return {(lit.kind, lit.name) for lit in found}


def _picking(events: list[Event]) -> set[tuple[str, str]]:
    """The options that pick the language model, which a patch may reach or not."""
    conditions = [lit for e in _language_loads(events) for lit in e.guard]
    return {(lit.kind, lit.name) for lit in conditions if lit.kind == "option"}


def _language_loads(events: list[Event]) -> list[Event]:
    return [e for e in events if e.kind == "load" and e.role == "language_model"]


def _loads(events: list[Event]) -> bool:
    """True if a language model is loaded where nobody gives further options."""
    return any(by_default(e.guard) is not False for e in _language_loads(events))


def _verdict(
    program: Program,
    events: list[Event],
    gave_up: bool,
    knowledge: Knowledge,
    scripted: bool = False,
) -> EntryPoint:
    language = judge(events, "language_model", scripted)
    vision = judge(events, "vision_tower", scripted)
    answers = {"language model": language, "vision tower": vision}
    for answer in answers.values() if scripted else ():
        settle(answer)
    order = ["off", "depends", "on"]
    flash = max((a.flash for a in answers.values()), key=order.index)
    default = flash
    if flash == "depends":
        defaults = [a.default for a in answers.values() if a.flash == "depends"]
        default = "on" if "on" in defaults else "depends" if "depends" in defaults else "off"
    loads = language.loads or vision.loads
    entry = EntryPoint(
        program.module.path,
        program.line,
        _kind(program) if loads or flash != "off" else "tool",
        flash,
        _because(answers, loads, gave_up, knowledge.falls_to_sdpa),
        "",
        default=default,
        vision_tower=vision.flash,
        language_model=language.flash,
        sdpa=any(a.sdpa or a.xformers for a in answers.values())
        or (loads and flash != "on" and knowledge.falls_to_sdpa),
    )
    literals = [lit for a in answers.values() for lit in a.literals]
    entry.depends_on = list(dict.fromkeys(str(lit) for lit in literals))
    for answer in (language, vision):
        if answer.flash == flash:
            entry.decided_by.extend(at for at in answer.lines if at not in entry.decided_by)
    needs = [e.at for e in events if e.kind == "need" and e.family == "flash" and not e.guard]
    entry.needs_package = list(dict.fromkeys(needs))
    if entry.needs_package:
        entry.because += f"; cannot start without flash_attn ({entry.needs_package[0]})"
        entry.traps.append("unguarded import")
    entry.turn_off = _turn_off(entry, literals)
    return entry


def _kind(program: Program) -> str:
    """What a program that loads a model is for, where its name does not say."""
    if program.kind != "tool" or converts(program.module.path):
        return program.kind
    return "training" if _TRAINS.search(program.module.text) else "inference"


def _because(answers: dict[str, Answer], loads: bool, gave_up: bool, falls: bool) -> str:
    if not loads and all(a.flash == "off" for a in answers.values()):
        text = "no model is loaded here"
    else:
        parts = []
        for name, answer in answers.items():
            if not answer.loads and answer.flash == "off" and name == "vision tower":
                continue
            parts.append(f"{name} {answer.flash}: " + "; ".join(answer.reasons))
        text = ". ".join(parts)
        if any(a.xformers for a in answers.values()):
            text += ". xformers replaces attention and may pick its own FlashAttention operator"
        elif all(a.flash == "off" for a in answers.values()) and (
            falls or any(a.sdpa for a in answers.values())
        ):
            text += ". PyTorch's SDPA may still run its own FlashAttention kernel"
    return text + (". Not followed to the end: too large" if gave_up else "")


def _turn_off(entry: EntryPoint, literals: list[Literal]) -> str:
    if entry.kind == "tool" and entry.flash == "off":
        return "nothing to turn off"
    ways = [option_off(lit) for lit in literals]
    options = list(dict.fromkeys(w for w in ways if w))
    general = "set ATTNSWITCH=standard"
    if entry.flash == "off":
        return f"not asked for; {general} also bars PyTorch's own FlashAttention kernel"
    if options:
        return f"{options[0]}; or {general}"
    return f"{general}; or make it a parameter: attnswitch patch"
