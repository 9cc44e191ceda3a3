"""Objects: classes of the tree are created, and their methods run as a trainer would run them."""

from __future__ import annotations

import ast
from dataclasses import replace

from attnswitch.source import words
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.expressions import Expressions
from attnswitch.source.flow.families import families
from attnswitch.source.flow.machine import Given
from attnswitch.source.flow.values import (
    ALWAYS,
    NOTHING,
    Chosen,
    Function,
    Guard,
    Instance,
    Literal,
    Value,
    choose,
    possible,
)
from attnswitch.source.project import FunctionNode, Symbol, find_method
from attnswitch.source.records import Line

#: Ways to make objects of one class that are kept apart, for each choice of a user.
_MOST_WAYS = 4


def registered_name(symbol: Symbol) -> str:
    """The name that a decorator registers a definition under: its own, unless it is given."""
    for decorator in getattr(symbol.node, "decorator_list", []):
        if isinstance(decorator, ast.Call) and decorator.args:
            first = decorator.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                return first.value
    return symbol.dotted


def _tells_more(guard: Guard, known: list[Guard]) -> bool:
    """True for conditions worth keeping: a few ways there, and some for each choice of a user."""

    def chosen(conditions: Guard) -> Guard:
        return frozenset(lit for lit in conditions if lit.kind != "branch")

    if guard in known or len(known) >= 3 * _MOST_WAYS:
        return False
    return sum(chosen(other) == chosen(guard) for other in known) < _MOST_WAYS


class Objects(Expressions):
    """Creates objects, and runs what nobody in the tree calls but somebody outside it will."""

    def create(self, symbol: Symbol, arguments: Given, at: Line) -> Value:
        """Create an object: run the constructor, and note the class for its other methods."""
        instance = Instance(symbol)
        self.note_made(symbol, ALWAYS, at)
        for parent in self.ancestry(symbol):
            assert isinstance(parent.node, ast.ClassDef)
            constructor = find_method(parent.node, "__init__")
            if constructor is not None:
                inner = Symbol("function", f"{parent.dotted}.__init__", parent.module, constructor)
                self.enter(Function(inner, instance), arguments, at)
                break
        else:
            self._set_fields(symbol, arguments)
        return instance

    def fresh(self, made: Value, arguments: Given) -> Value:
        """A configuration that the program makes itself asks for nothing but what it is given."""
        if arguments[2] or not isinstance(made, Instance) or not self.is_config(made.symbol):
            return made
        told = [v for name, v in arguments[1].items() if words.is_setting(name)]
        return replace(made, asked=told[0] if told else NOTHING)

    def note_made(self, symbol: Symbol, conditions: Guard, at: Line) -> None:
        """Note an object made here, under conditions besides those of this moment."""
        known = self.state.built.setdefault(symbol.key, (symbol, [], at))[1]
        here = self.state.guard | conditions
        self.state.made.setdefault((symbol, here), at)
        if possible(everywhere := self.state.outer | here) and _tells_more(everywhere, known):
            known.append(everywhere)

    def _set_fields(self, symbol: Symbol, arguments: Given) -> None:
        for name, value in arguments[1].items():
            if words.is_setting(name) or words.is_switch(name):
                self.state.write(symbol.key, name, value)

    def finish(self) -> None:
        """Run the methods of every created class: a trainer or a server calls them.

        A module that another one keeps and calls (`self.attn = Attn()`) is run there, under the
        conditions of that call; only if that never happens is it run by itself.
        """
        done: set[object] = set()
        for kept in (False, True):
            while len(done) < len(self.state.built) and not self.state.exhausted:
                before = len(done)
                for key, (symbol, guards, made) in list(self.state.built.items()):
                    if key not in done and (kept or key not in self.state.keepers):
                        done.add(key)
                        self._finish_one(symbol, guards, made)
                if len(done) == before:
                    break

    def _finish_one(self, symbol: Symbol, guards: list[Guard], made: Line) -> None:
        if self._called_by_its_keeper(symbol):
            return
        self.state.maker = made.path
        before = set(self.state.visited) if len(guards) > 1 else set()
        for guard in guards:
            after = self.state.visited
            if guard != guards[0]:  # the same methods again, under other conditions
                self.state.visited = set(before)
            self._all_methods(symbol, guard)
            self.state.visited |= after

    def keep(self, keeper: Symbol, attribute: str, kept: Symbol) -> None:
        """Note that objects of one class hold an object of another in an attribute."""
        self.state.keepers.setdefault(kept.key, set()).add((keeper, attribute))

    def _called_by_its_keeper(self, symbol: Symbol) -> bool:
        return any(
            (parent.module.path, f"{parent.dotted}.{method.name}") in self.state.visited
            for keeper, attribute in self.state.keepers.get(symbol.key, ())
            for parent in self.ancestry(keeper)
            if parent.module is not None and isinstance(parent.node, ast.ClassDef)
            for method in parent.node.body
            if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
            and attribute != method.name
            and attribute in self.project.mentions(method).called_on_itself
        )

    def registered_in(self, table: str) -> Value:
        """One of the definitions whose decorator puts them into this dictionary."""
        found: list[tuple[Guard, Value]] = []
        for symbol in self.state.registered:
            if self._puts_into(symbol, table.split(".")[-1]):
                chosen = Literal("model", f"the model {registered_name(symbol)}", "is chosen")
                found.append((frozenset({chosen}), self.symbol_value(symbol)))
        return choose(found)

    def _puts_into(self, symbol: Symbol, table: str) -> bool:
        """True if the decorator of a definition assigns to an entry of a dictionary."""
        for decorator in getattr(symbol.node, "decorator_list", []):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            by = self.project.resolve_anywhere(symbol.module, called) if symbol.module else None
            body = by.node if by is not None and by.kind == "function" else None
            if body is not None and f"{table}[" in ast.unparse(body):
                return True
        return False

    def build_registered(self) -> None:
        """Build what decorators put into registries, each under the condition that it is chosen."""
        saved = self.state.guard
        for symbol in self.state.registered:
            if not self.knowledge.interesting(symbol) or symbol.module is None:
                continue
            chosen = Literal("model", f"the model {registered_name(symbol)}", "is chosen")
            self.state.guard = frozenset({chosen})
            at = Line(symbol.module.path, getattr(symbol.node, "lineno", 1))
            if symbol.kind == "class":
                self.create(symbol, ([], {}, True), at)
            else:
                self.enter(Function(symbol), ([], {}, True), at)
        self.state.guard = saved
        self.finish()

    def take_options(self) -> None:
        """Where no model was seen: what the program's own options would ask for.

        Megatron builds its models from specifications that are not followed; what decides there
        is `--attention-backend`.
        """
        for options in self.state.options.values():
            for name, value in options.items():
                if not (words.is_setting(name) or words.is_switch(name)):
                    continue
                given = self.state.overridden("option", name) or value
                at = value.at if isinstance(value, Chosen) and value.at else Line("", 1)
                for family, guard, source in families(name, given):
                    if not family.startswith("asked:"):
                        event = Event("load", family, at, "language_model", guard, name, source)
                        self.state.record(event)

    def _all_methods(self, symbol: Symbol, guard: Guard) -> None:
        saved, self.state.guard = self.state.guard, guard
        for parent, method in self._own_methods(symbol):
            inner = Symbol("function", f"{parent.dotted}.{method.name}", parent.module, method)
            if parent.module and (parent.module.path, inner.dotted) in self.state.visited:
                continue
            self.enter(Function(inner, Instance(symbol)), ([], {}, True), Line("", 0))
        self.state.guard = saved

    def _own_methods(self, symbol: Symbol) -> list[tuple[Symbol, FunctionNode]]:
        """The methods that others may call, those of the class before those of its bases.

        A helper (`_prepare`) that other methods of the class call runs only where they call it,
        under their conditions.
        """
        found: dict[str, tuple[Symbol, FunctionNode]] = {}
        called: set[str] = set()
        for parent in self.ancestry(symbol):
            assert isinstance(parent.node, ast.ClassDef)
            for item in parent.node.body:
                if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    if item.name != "__init__":
                        found.setdefault(item.name, (parent, item))
                    called |= self.project.mentions(item).called_on_itself - {item.name}
        return [
            pair
            for name, pair in found.items()
            if name not in called or not name.startswith("_") or name.startswith("__")
        ]
