"""The scan: reads a tree, finds the places, follows the programs, gives the verdicts."""

from __future__ import annotations

import ast
import gc
import os
import posixpath
import time

from attnswitch.source import mechanisms
from attnswitch.source.entries import Launch, Program, find_programs, kind_of_program
from attnswitch.source.files import find_in_file
from attnswitch.source.files.dependencies import install_line
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.interpreter import Interpreter
from attnswitch.source.flow.knowledge import Knowledge
from attnswitch.source.flow.state import State
from attnswitch.source.flow.values import Class, Function, Literal, possible
from attnswitch.source.launches import find_launches
from attnswitch.source.liveness import judge_status
from attnswitch.source.pins import falls_to_sdpa
from attnswitch.source.project import Module, Project, parse
from attnswitch.source.reach import Reach
from attnswitch.source.records import EntryPoint, Finding, Line, Scan, Skipped
from attnswitch.source.tree import SourceFile, package_name, read_tree
from attnswitch.source.verdict import Answer, judge, option_off, symbols
from attnswitch.source.words import DISTRIBUTION


def scan(path: str | os.PathLike[str]) -> Scan:
    """Find every place under `path` that decides about attention, and what each program gets.

    `path` is a checkout, an installed package, a folder with remote code, or one file. Nothing
    of it is imported or run. Raises InputError if there is nothing at `path`.
    """
    return scan_with_project(path)[0]


def scan_with_project(path: str | os.PathLike[str]) -> tuple[Scan, Project]:
    """The scan, and the parsed tree that it speaks of."""
    collecting = gc.isenabled()
    gc.disable()  # syntax trees are many objects and no cycles: a third of the time
    try:
        return _scan(path)
    finally:
        if collecting:
            gc.enable()


def _scan(path: str | os.PathLike[str]) -> tuple[Scan, Project]:
    started = time.perf_counter()
    root, files, skipped = read_tree(path)
    modules, failed = _parse_all(files)
    project = Project(modules, package_name(root))
    findings = _find(project, modules, files)
    launches = [x for f in files if f.kind == "shell" for x in find_launches(project, f)]
    programs = find_programs(project, files, {x.program.path for x in launches})
    knowledge = Knowledge(project, findings)
    knowledge.falls_to_sdpa = falls_to_sdpa(files)
    entry_points = _entry_points(project, knowledge, programs, launches)
    roots = [p.module for p in programs]
    names = {p.module.path: {p.calls} for p in programs if p.calls}
    reach = Reach(project, roots, names)
    judge_status(findings, project, reach, bool(programs))
    findings.sort(key=lambda f: (f.path, f.line, f.mechanism))
    skipped = sorted([*skipped, *failed], key=lambda s: s.path)
    seconds = time.perf_counter() - started
    return Scan(str(root), findings, entry_points, skipped, len(files), seconds), project


def _parse_all(files: list[SourceFile]) -> tuple[list[Module], list[Skipped]]:
    modules: list[Module] = []
    failed: list[Skipped] = []
    for file in files:
        if file.kind == "python":
            module = parse(file)
            if isinstance(module, Skipped):
                failed.append(module)
            else:
                modules.append(module)
    return modules, failed


def _find(project: Project, modules: list[Module], files: list[SourceFile]) -> list[Finding]:
    findings: list[Finding] = []
    for module in modules:
        findings.extend(mechanisms.find_in_module(project, module))
        findings.extend(_packages_in_python(module))
    for file in files:
        if file.kind != "python":
            findings.extend(find_in_file(file))
    unique: dict[tuple[str, int, str], Finding] = {}
    for finding in findings:
        unique.setdefault((finding.path, finding.line, finding.mechanism), finding)
    return list(unique.values())


def _packages_in_python(module: Module) -> list[Finding]:
    """Requirements in a setup.py, and install commands that a program runs."""
    is_setup = posixpath.basename(module.path) == "setup.py"
    if not DISTRIBUTION.search(module.text) or not (is_setup or "install" in module.text):
        return []
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        text = node.value
        match = DISTRIBUTION.match(text.strip()) if is_setup and len(text) < 80 else None
        runs = len(text) < 200 and "\n" not in text and install_line(text)
        if match or (runs and text.lstrip().startswith(("pip", "python", "!pip", "uv"))):
            name = match.group(1) if match else str(runs)
            finding = Finding(
                module.path, node.lineno, "dependency", f"installs {name}", "installs"
            )
            finding.target = "xformers" if "xformers" in name else "flash"
            if is_setup:
                finding.status, finding.reason = "live", "installed with the project"
            found.append(finding)
    return found


# -- entry points -----------------------------------------------------------------------------


class _Runs:
    """Runs programs, and remembers what each did under which flags."""

    def __init__(self, project: Project, knowledge: Knowledge):
        self.project = project
        self.knowledge = knowledge
        self._known: dict[object, tuple[list[Event], bool]] = {}

    def events(
        self, program: Program, flags: dict[str, object], variables: dict[str, str]
    ) -> tuple[list[Event], bool]:
        """What happens when a program is started; the flag says that following it was given up."""
        key = (program.module.path, repr(sorted(flags.items())), repr(sorted(variables.items())))
        if key not in self._known:
            self._known[key] = self._run(program, flags, variables)
        return self._known[key]

    def literals(self, program: Program) -> list[Literal]:
        """The conditions that the verdict of a bare start depends on."""
        events, _ = self.events(program, {}, {})
        roles = ("language_model", "vision_tower")
        return [lit for role in roles for lit in judge(events, role).literals]

    def _run(
        self, program: Program, flags: dict[str, object], variables: dict[str, str]
    ) -> tuple[list[Event], bool]:
        state = State(overrides=dict(flags), variables=dict(variables))
        interpreter = Interpreter(self.project, self.knowledge, state)
        try:
            interpreter.run_module(program.module, is_main=True)
            if program.calls:
                self._call(interpreter, program)
            interpreter.finish()
            if not any(e.kind in {"load", "patch", "call", "write"} for e in state.events):
                interpreter.build_registered()
        except RecursionError:
            state.exhausted = True
        return [e for e in state.events if possible(e.guard)], state.exhausted

    def _call(self, interpreter: Interpreter, program: Program) -> None:
        """Start an installed command, or set up a predictor class."""
        name = (program.calls or "").split(".")[0]
        symbol = self.project.resolve(program.module, name)
        if symbol is None:
            return
        value = interpreter.symbol_value(symbol)
        at = Line(program.module.path, 1)
        if isinstance(value, Function):
            interpreter.enter(value, ([], {}, False), at)
        elif isinstance(value, Class):
            interpreter.create(value.symbol, ([], {}, False), at)


def _entry_points(
    project: Project, knowledge: Knowledge, programs: list[Program], launches: list[Launch]
) -> list[EntryPoint]:
    runs = _Runs(project, knowledge)
    by_path = {p.module.path: p for p in programs}
    found: list[EntryPoint] = []
    for program in programs:
        events, gave_up = runs.events(program, {}, {})
        found.append(_verdict(program, events, gave_up, knowledge))
    bare = {e.path: e for e in found}
    seen: set[object] = set()
    for launch in launches:
        started = by_path.get(launch.program.path)
        if started is None:
            continue
        entry = _launched(launch, started, bare[launch.program.path], runs, knowledge)
        key = (entry.path, entry.launches, entry.flash, entry.because)
        if key not in seen:
            seen.add(key)
            found.append(entry)
    return sorted(found, key=lambda e: (e.path, e.line))


def _launched(
    launch: Launch, program: Program, bare: EntryPoint, runs: _Runs, knowledge: Knowledge
) -> EntryPoint:
    """The verdict for a shell script: the program's, with its flags and variables put in."""
    asked = {(lit.kind, lit.name) for lit in runs.literals(program)}
    flags = {n: v for n, v in launch.flags.items() if ("option", n) in asked}
    variables = {n: v for n, v in launch.variables.items() if ("variable", n) in asked}
    events, gave_up = runs.events(program, flags, variables)
    launched = Program(program.module, program.line, program.kind, program.calls)
    entry = _verdict(launched, events, gave_up, knowledge)
    entry.path, entry.line = launch.path, launch.line
    entry.launches = program.module.path
    kind = kind_of_program(launch.path)
    entry.kind = bare.kind if bare.kind != "tool" or kind == "tool" else kind
    if bare.kind == "tool" and bare.flash == "off" and not entry.decided_by:
        entry.kind = "tool"
    given = [f"--{n} {v}" for n, v in flags.items()] + [f"{n}={v}" for n, v in variables.items()]
    # What the script leaves open stays at its default: nobody types at a script.
    if entry.flash == "depends" and entry.default in {"on", "off"}:
        literals = [lit for e in events for lit in symbols(e.guard)]
        if all(lit.kind == "option" for lit in literals):
            entry.flash = entry.default
            entry.depends_on = []
            for role in ("language_model", "vision_tower"):
                if getattr(entry, role) == "depends":
                    setattr(entry, role, entry.default)
    starts = f"starts {program.module.path}"
    entry.because = f"{starts}{' with ' + ' '.join(given) if given else ''}: {entry.because}"
    return entry


def _verdict(
    program: Program, events: list[Event], gave_up: bool, knowledge: Knowledge
) -> EntryPoint:
    language, vision = judge(events, "language_model"), judge(events, "vision_tower")
    answers = {"language model": language, "vision tower": vision}
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
        program.kind if loads or flash != "off" else "tool",
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
