"""Parsers of whole classes of options, and objects of options turned into dictionaries."""

# ruff: noqa: N802 - handlers are named after the functions they stand for
from __future__ import annotations

import ast

from attnswitch.source.flow.expressions import Expressions
from attnswitch.source.flow.machine import Given
from attnswitch.source.flow.state import UNKNOWN, Frame
from attnswitch.source.flow.values import (
    Arguments,
    Bound,
    Class,
    External,
    Instance,
    Mapping,
    Row,
    Value,
    alternatives,
    apply,
)
from attnswitch.source.project import dotted_text
from attnswitch.source.walking import target_names


class Parsers(Expressions):
    """Evaluates what makes options of classes, and dictionaries of options."""

    def _call_HfArgumentParser(self, dotted, node, positional, keywords, frame) -> Value:
        return self._parser_of_classes(positional, keywords)

    def _call_TrlParser(self, dotted, node, positional, keywords, frame) -> Value:
        return self._parser_of_classes(positional, keywords)

    def parser_made(self, made: Class, arguments: Given) -> Value | None:
        """`TrlParser((ModelConfig, …))`, of a class of the tree that is an `HfArgumentParser`."""
        for symbol in self.ancestry(made.symbol):
            bases = symbol.node.bases if isinstance(symbol.node, ast.ClassDef) else ()
            if any(dotted_text(base).endswith("HfArgumentParser") for base in bases):
                return self._parser_of_classes(*arguments[:2])
        return None

    def _parser_of_classes(self, positional: list[Value], keywords: dict[str, Value]) -> Value:
        """A parser whose result is an object of each of its dataclasses."""
        value = positional[0] if positional else keywords.get("dataclass_types", UNKNOWN)
        rows = value.items if isinstance(value, Row) else (value,)
        made = Row(tuple(apply(row, self._parsed) for row in rows))
        return Bound(External("<parser>"), (made,))

    def _parsed(self, options: Value) -> Value:
        if not isinstance(options, Class):
            return UNKNOWN
        self.state.parsed.add(options.symbol.key)
        return Instance(options.symbol)

    def _call_vars(self, dotted, node, positional, keywords, frame) -> Value | None:
        value = positional[0] if positional else UNKNOWN
        held = [isinstance(v, (Arguments, Instance)) for _, v in alternatives(value)]
        return apply(value, self._as_dictionary) if any(held) else None

    _call_asdict = _call_vars

    def parsed_options(self, given: ast.expr, frame: Frame) -> Value | None:
        """`args.to_dict()`, of options that a parser made; None for all else."""
        value = self.evaluate(given, frame)
        made = [
            isinstance(v, Instance) and v.symbol.key in self.state.parsed
            for _, v in alternatives(value)
        ]
        return apply(value, self._as_dictionary) if made and all(made) else None

    def _as_dictionary(self, value: Value) -> Value:
        """`vars(args)` and `asdict(args)`: each option by its name."""
        if isinstance(value, Arguments):
            names = self.state.options.get(value.at, {})
            return Mapping(tuple((n, self.option(value, n)) for n in names), True)
        if isinstance(value, Instance):
            held = ((name, self.member(value, name)) for name in self._fields(value))
            return Mapping(tuple((name, item or UNKNOWN) for name, item in held), True)
        return UNKNOWN

    def _fields(self, value: Instance) -> list[str]:
        """The fields that the class of an object and its bases define, each once."""
        found: dict[str, None] = {}
        for symbol in self.ancestry(value.symbol):
            for item in symbol.node.body if isinstance(symbol.node, ast.ClassDef) else ():
                if isinstance(item, ast.AnnAssign):
                    found.update(dict.fromkeys(target_names(item.target)))
        return list(found)
