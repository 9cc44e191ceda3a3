"""Runs programs over abstract values: what happens to attention when each is started."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attnswitch.source.flow.events import Event
from attnswitch.source.flow.interpreter import Interpreter
from attnswitch.source.flow.knowledge import Knowledge
from attnswitch.source.flow.state import State
from attnswitch.source.flow.values import Class, Function, Guard, possible
from attnswitch.source.launches import launch_of
from attnswitch.source.programs import Program, kind_of_program
from attnswitch.source.project import Project
from attnswitch.source.records import Line
from attnswitch.source.shell_text import started_by, started_in

#: Programs that start one another, one within the other.
MOST_PROCESSES = 4
#: Commands that are followed from one program on; beyond that the verdict says that it gave up.
MOST_COMMANDS = 100


@dataclass(frozen=True)
class Start:
    """A program, and what it is started with.

    `settings` is what the configuration holds that a script gives, None if it gives none.
    """

    program: Program
    flags: dict[str, object] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for starts of which one does what the other does."""
        program = self.program
        given = (self.flags, self.variables, self.settings)
        told = (repr(sorted(g.items())) if g is not None else "" for g in given)
        return (program.module.path, program.kind, str(program.calls), *told)


@dataclass(frozen=True)
class Ran:
    """What one program did by itself, and the commands that it started.

    `gave_up` says that it was not followed to the end.
    """

    program: Program
    events: list[Event]
    started: list[tuple[Guard, list[str] | str]]
    gave_up: bool


class Runs:
    """Runs programs, and remembers what each did under which flags."""

    def __init__(self, project: Project, knowledge: Knowledge):
        self.project = project
        self.knowledge = knowledge
        self._ran: dict[object, Ran] = {}
        self._known: dict[object, tuple[list[Event], bool]] = {}
        self._followed = 0

    def events(self, start: Start) -> tuple[list[Event], bool]:
        """What happens when a program is started; the flag says that following it was given up."""
        if start.key not in self._known:
            ran = self._by_itself(start)
            self._followed = 0
            started = self._of_started(ran, (start.program.module.path,))
            gave_up = ran.gave_up or self._followed > MOST_COMMANDS
            self._known[start.key] = ([*ran.events, *started], gave_up)
        return self._known[start.key]

    def _by_itself(self, start: Start) -> Ran:
        if start.key not in self._ran:
            self._ran[start.key] = self._run(start)
        return self._ran[start.key]

    def _run(self, start: Start) -> Ran:
        program = start.program
        state = State(
            overrides=dict(start.flags), variables=dict(start.variables), settings=start.settings
        )
        state.trains = program.kind in {"training", "tool"}
        interpreter = Interpreter(self.project, self.knowledge, state)
        try:
            if program.calls:
                interpreter.import_packages(program.module)
            interpreter.run_module(program.module, is_main=True)
            if program.calls:
                self._call(interpreter, program)
            interpreter.finish()
            if not _decides(state.events):
                interpreter.build_registered()
            if not _decides(state.events):
                interpreter.take_options()
        except RecursionError:
            state.exhausted = True
        events = [e for e in state.events if possible(e.guard)]
        return Ran(program, events, state.started, state.exhausted)

    def _of_started(self, ran: Ran, running: tuple[str, ...]) -> list[Event]:
        """What happens in the programs of the tree that this one starts as processes."""
        found: list[Event] = []
        for guard, command in ran.started if len(running) <= MOST_PROCESSES else ():
            started = started_in(command) if isinstance(command, str) else started_by(command)
            for words in started:
                found += self._of_command(ran.program, words, guard, running)
        return found

    def _of_command(
        self, program: Program, words: list[str], guard: Guard, running: tuple[str, ...]
    ) -> list[Event]:
        self._followed += 1
        if self._followed > MOST_COMMANDS:
            return []
        launch = launch_of(self.project, program.module.path, program.line, words, {})
        if launch is None or launch.program.path in running:
            return []
        path = launch.program.path
        inner = Program(launch.program, program.line, kind_of_program(path))
        started = self._by_itself(Start(inner, launch.flags, launch.variables, launch.settings))
        events = [*started.events, *self._of_started(started, (*running, path))]
        mine = [e.under(guard) for e in _untyped(events) if e.kind != "need"]
        return [e for e in mine if possible(e.guard)]

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


def _decides(events: list[Event]) -> bool:
    """True if something was seen that has to do with attention."""
    telling = {"load", "patch", "call", "write"}
    return any(e.kind in telling and (e.kind, e.family) != ("write", "default") for e in events)


def _untyped(events: list[Event]) -> list[Event]:
    """What happens where nobody types: the options that a command does not give are not given."""
    found = []
    for event in events:
        options = {lit for lit in event.guard if lit.kind == "option"}
        if not any(lit.by_default is False for lit in options):
            held = frozenset(lit for lit in options if lit.by_default)
            found.append(replace(event, guard=event.guard - held))
    return found
