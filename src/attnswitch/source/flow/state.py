"""What one run of the interpreter knows: overrides, attributes, parsers and the way so far."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import cache

from attnswitch.source import words
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.values import (
    ALWAYS,
    HOLE,
    Chosen,
    Const,
    Guard,
    Template,
    Unknown,
    Value,
    choose,
    possible,
)
from attnswitch.source.project import FunctionNode, Module, Symbol
from attnswitch.source.records import Line

#: Statements that one entry point may take; beyond that the verdict says that it gave up.
BUDGET = 30_000
DEPTH = 24


@dataclass
class Frame:
    """The local names of one call; `shared` holds those that it declares global.

    `body` is the function that runs, None at the top of a module.
    """

    module: Module
    names: dict[str, Value] = field(default_factory=dict)
    function: str = ""
    owner: Value | None = None
    klass: Symbol | None = None
    outer: Frame | None = None
    shared: set[str] = field(default_factory=set)
    returns: list[tuple[Guard, Value]] = field(default_factory=list)
    body: FunctionNode | None = None

    def lookup(self, name: str) -> Value | None:
        """A local name, or one of the functions around."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.names:
                return frame.names[name]
            frame = frame.outer
        return None


@dataclass(frozen=True)
class Remembered:
    """What a call did: its events, the objects that it made, and what it gave back."""

    events: list[Event]
    made: dict[tuple[Symbol, Guard], Line]
    value: Value


@dataclass
class State:
    """Everything that outlives a call, for one entry point.

    `settings` is what the configuration holds that a script gives, None if it gives none;
    `guard` holds the conditions inside the running function, `outer` those of its callers.
    `built` holds the classes of the objects made so far, with the conditions and the first line;
    `made` holds those that the running function made, under its own conditions;
    `parsed` holds the dataclasses that a parser fills, whatever their names;
    `auto` holds the model classes given to `AutoModel.register`;
    `keepers` holds, for a class, the classes that keep an object of it and under which name;
    `maker` is the file that made the object whose methods are running; `trains` says that models
    may be in training mode; `started` holds the commands that the program starts.
    """

    overrides: dict[str, object] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] | None = None
    trains: bool = True
    guard: Guard = ALWAYS
    outer: Guard = ALWAYS
    events: list[Event] = field(default_factory=list)
    attributes: dict[tuple[object, str], Value] = field(default_factory=dict)
    options: dict[Line, dict[str, Value]] = field(default_factory=dict)
    built: dict[tuple[str, int], tuple[Symbol, list[Guard], Line]] = field(default_factory=dict)
    made: dict[tuple[Symbol, Guard], Line] = field(default_factory=dict)
    maker: str = ""
    keepers: dict[tuple[str, int], set[tuple[Symbol, str]]] = field(default_factory=dict)
    registered: list[Symbol] = field(default_factory=list)
    auto: list[Symbol] = field(default_factory=list)
    started: list[tuple[Guard, list[str] | str]] = field(default_factory=list)
    parsed: set[tuple[str, int]] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    running: list[object] = field(default_factory=list)
    memory: dict[object, Remembered] = field(default_factory=dict)
    visited: set[tuple[str, str]] = field(default_factory=set)
    steps: int = 0
    exhausted: bool = False

    def record(self, event: Event) -> None:
        """Keep an event under the conditions of this moment."""
        event = event.under(self.guard)
        if possible(event.guard):
            self.events.append(event)

    def write(self, owner: object, name: str, value: Value) -> None:
        """Set an attribute: under conditions, the old value stays possible."""
        key = (owner, name)
        old = self.attributes.get(key)
        if old is None or old == value or not self.guard:
            self.attributes[key] = value if old is None or not self.guard else old
        else:
            self.attributes[key] = choose([(self.guard, value), (ALWAYS, old)])

    def overridden(self, kind: str, name: str) -> Value | None:
        """The value that a command line or the environment gives.

        A value that is a variable of the shell is chosen by whoever sets that variable; a text
        with such a variable in it is some text.
        """
        given = (self.overrides if kind == "option" else self.variables).get(name, ...)
        if given is ...:
            return None
        if isinstance(given, str) and "$" in given:
            variable = re.fullmatch(r"\$\{?(\w+)\}?", given.strip())
            if variable and (words.is_setting(name) or words.is_switch(name)):
                return Chosen("variable", variable.group(1), Unknown())
            return Template(HOLE)
        return Const(given)

    def given(self, name: str) -> Value | None:
        """What a configuration says that a script gives; None if it does not, or twice."""
        value = ... if self.settings is None else self.settings.get(name, ...)
        return None if value is ... else Const(value)

    def spend(self) -> bool:
        """Count one statement; False once the budget is gone."""
        self.steps += 1
        if self.steps > BUDGET:
            self.exhausted = True
        return not self.exhausted


UNKNOWN = Unknown()


@cache
def _line(path: str, number: int) -> Line:
    return Line(path, number)


def line_of(frame: Frame, node: ast.AST) -> Line:
    """Where a node stands."""
    return _line(frame.module.path, getattr(node, "lineno", 1))
