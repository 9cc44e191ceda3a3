"""Classes and fields that only a text names: `eval(name)`, `config.get("use_flash_attn")`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.flow.objects import Objects
from attnswitch.source.flow.state import UNKNOWN, Frame
from attnswitch.source.flow.values import (
    MOST_MODELS,
    Chosen,
    Class,
    Const,
    Literal,
    Unknown,
    Value,
    choose,
)
from attnswitch.source.project import Module, Symbol


class NamedClasses(Objects):
    """Finds what a text that comes from a configuration may name."""

    def evaluated(self, text: Value, frame: Frame) -> Value:
        """`eval(text)`: what a known name stands for, else one of the classes of the module."""
        if isinstance(text, Const) and isinstance(text.value, str) and text.value.isidentifier():
            return self.evaluate(ast.Name(text.value, ast.Load()), frame)
        if isinstance(text, Const):
            return UNKNOWN
        found = []
        for name, symbol in self._models_in(frame.module):
            chosen = Literal("model", f"the model {name}", "is chosen")
            found.append((frozenset({chosen}), Class(symbol)))
        return choose(found) if len(found) <= MOST_MODELS else UNKNOWN

    def _models_in(self, module: Module) -> Iterator[tuple[str, Symbol]]:
        """The classes that a module imports which have to do with attention, by their names."""
        for name in self._names_of(module, set()):
            symbol = self.project.resolve(module, name)
            if symbol is None or symbol.kind != "class" or symbol.module is module:
                continue
            if self.knowledge.interesting(symbol):
                yield name, symbol

    def _names_of(self, module: Module, seen: set[str]) -> Iterator[str]:
        seen.add(module.path)
        yield from module.bindings
        for star in module.stars:
            source = self.project.imported_from(module, star)
            if source is not None and source.path not in seen:
                yield from self._names_of(source, seen)

    def field_of_some(self, given: list[Value]) -> Value | None:
        """`config.get(name, default)`, of a configuration that could not be followed.

        If a script gives the configuration, what it holds under that name.
        """
        name = given[0].value if given and isinstance(given[0], Const) else None
        if not isinstance(name, str):
            return None
        default = given[1] if len(given) > 1 else Const(None)
        told = self.state.given(name)
        if told is not None:
            return told
        if not words.is_switch(name):
            return None
        settings = self.state.settings
        if settings is not None and name not in settings and isinstance(default, Const):
            return default
        return Chosen("config", name, default if isinstance(default, Const) else Unknown())
