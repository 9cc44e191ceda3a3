"""Runs programs over abstract values: what happens to attention when each is started."""

from __future__ import annotations

from dataclasses import replace

from attnswitch.source.flow.events import Event
from attnswitch.source.flow.interpreter import Interpreter
from attnswitch.source.flow.knowledge import Knowledge
from attnswitch.source.flow.state import State
from attnswitch.source.flow.values import Class, Function, possible
from attnswitch.source.launches import launch_of
from attnswitch.source.programs import Program, kind_of_program
from attnswitch.source.project import Project
from attnswitch.source.records import Line
from attnswitch.source.shell_text import words_of


class Runs:
    """Runs programs, and remembers what each did under which flags."""

    def __init__(self, project: Project, knowledge: Knowledge):
        self.project = project
        self.knowledge = knowledge
        self._known: dict[object, tuple[list[Event], bool]] = {}
        self._running: set[str] = set()

    def events(
        self,
        program: Program,
        flags: dict[str, object],
        variables: dict[str, str],
        settings: dict[str, object] | None = None,
    ) -> tuple[list[Event], bool]:
        """What happens when a program is started; the flag says that following it was given up."""
        given = (flags, variables, settings)
        key = (
            program.module.path,
            *(repr(sorted(g.items())) if g is not None else "" for g in given),
        )
        if key not in self._known:
            self._known[key] = self._run(program, flags, variables, settings)
        return self._known[key]

    def _run(
        self,
        program: Program,
        flags: dict[str, object],
        variables: dict[str, str],
        settings: dict[str, object] | None,
    ) -> tuple[list[Event], bool]:
        state = State(overrides=dict(flags), variables=dict(variables), settings=settings)
        state.trains = program.kind in {"training", "tool"}
        interpreter = Interpreter(self.project, self.knowledge, state)
        try:
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
        self._running.add(program.module.path)
        state.events.extend(self._of_started(program, state))
        self._running.discard(program.module.path)
        return [e for e in state.events if possible(e.guard)], state.exhausted

    def _of_started(self, program: Program, state: State) -> list[Event]:
        """What happens in the programs of the tree that this one starts as processes."""
        found: list[Event] = []
        for guard, command in state.started:
            words = words_of(command) if isinstance(command, str) else command
            launch = launch_of(self.project, program.module.path, program.line, words, {})
            if launch is None or launch.program.path in self._running:
                continue
            kind = kind_of_program(launch.program.path)
            started = Program(launch.program, program.line, kind)
            events, _ = self.events(started, launch.flags, {}, launch.settings)
            found.extend(e.under(guard) for e in _untyped(events) if e.kind != "need")
        return found

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
