"""Methods that mean the same on every object: loads, dictionaries and argument parsers."""

from __future__ import annotations

import ast
from dataclasses import replace

from attnswitch.source.flow.knowledge import flag_default
from attnswitch.source.flow.loads import Loads
from attnswitch.source.flow.machine import Given
from attnswitch.source.flow.state import UNKNOWN, Frame, line_of
from attnswitch.source.flow.values import (
    Arguments,
    Bound,
    Choice,
    Chosen,
    Class,
    Const,
    External,
    Function,
    Instance,
    Mapping,
    Parser,
    Row,
    Unknown,
    Value,
    apply,
)
from attnswitch.source.mechanisms.options import flag_name, option_choices, typed_flag
from attnswitch.source.project import dotted_text

_LOADERS = {"from_pretrained", "from_config", "_from_config"}
_READS = {
    "get",
    "pop",
    "setdefault",
    "update",
    "add_argument",
    "parse_args",
    "parse_known_args",
    "add_argument_group",
    "add_mutually_exclusive_group",
    "add_subparsers",
    "add_parser",
    "set_defaults",
}


#: Methods of a decorated function or class that run it in another process, or set how.
_ELSEWHERE = frozenset({"remote", "options", "delay", "spawn"})


class Methods(Loads):
    """Evaluates method calls by the name of the method."""

    def _method(
        self, node: ast.Call, name: str, function: Value, arguments: Given, frame: Frame
    ) -> Value | None:
        if name in _LOADERS and isinstance(node.func, ast.Attribute):
            return self._load(node, function, arguments, frame)
        if not isinstance(node.func, ast.Attribute):
            return None
        if name in {"set_attn_implementation"} and arguments[0]:
            owner = dotted_text(node.func.value)
            self.configured("attn_implementation", arguments[0][0], node, owner, frame)
            return UNKNOWN
        if name in _ELSEWHERE:
            ran = self._elsewhere(node.func.value, name, arguments, frame)
            if ran is not None:
                return ran
        if name == "add_module":
            self._added(arguments[0])
        base = self.evaluate(node.func.value, frame) if name in _READS else None
        if isinstance(base, (Mapping, Choice)) and name in {"get", "pop", "setdefault", "update"}:
            return apply(base, lambda b: self._mapping(b, name, node, arguments, frame))
        if isinstance(base, Unknown) and name == "update":
            self._began_elsewhere(node.func.value, arguments, frame)
        if isinstance(base, Unknown) and name in {"get", "pop"}:
            return self.field_of_some(arguments[0])
        if name.startswith("parse_") and isinstance(node.func, ast.Attribute):
            parser = self.evaluate(node.func.value, frame)
            if isinstance(parser, Bound) and parser.function == External("<parser>"):
                rows = parser.args[0]
                if "remaining" in ast.unparse(node) and isinstance(rows, Row):
                    return Row((*rows.items, UNKNOWN))
                return rows
        if isinstance(base, Parser):
            return self._parser(base, name, node, arguments, frame)
        return None

    def _elsewhere(self, what: ast.expr, name: str, arguments: Given, frame: Frame) -> Value | None:
        """`evaluate.options(num_gpus=1).remote(x)` runs it in a process of ray, or of a queue."""
        value = self.evaluate(what, frame)
        if name == "options":
            return value if isinstance(value, (Function, Class)) else None
        if isinstance(value, Function):
            self.enter(value, arguments, line_of(frame, what))
            return UNKNOWN  # the result comes later
        if isinstance(value, Class):
            return self.create(value.symbol, arguments, line_of(frame, what))
        return None

    def _added(self, arguments: list[Value]) -> None:
        """A module added under a name that nothing in the tree calls is never run."""
        if len(arguments) != 2:
            return
        name, module = arguments
        if not isinstance(name, Const) or name.value in self.knowledge.called_attributes:
            return
        record = self.state.built.get(module.symbol.key) if isinstance(module, Instance) else None
        guard = self.state.outer | self.state.guard
        if record is not None and guard in record[1]:
            record[1].remove(guard)

    def _began_elsewhere(self, name: ast.expr, arguments: Given, frame: Frame) -> None:
        """`config.update(vars(args))`, of a dictionary that was read from a file."""
        added = arguments[0][0] if arguments[0] else None
        if isinstance(added, Mapping) and isinstance(name, ast.Name):
            self.assign(name, Mapping(added.items, rest=True), name, frame)

    def _mapping(
        self, base: Value, name: str, node: ast.Call, arguments: Given, frame: Frame
    ) -> Value:
        positional, keywords, _ = arguments
        if not isinstance(base, Mapping):
            return UNKNOWN
        assert isinstance(node.func, ast.Attribute)
        if name == "update":
            result = base
            for value in positional:
                if isinstance(value, Mapping):
                    for key, inner in value.items:
                        result = result.put(key, inner)
                    result = Mapping(result.items, result.rest or value.rest)
                else:
                    result = Mapping(result.items, True)
            for key, inner in keywords.items():
                result = result.put(key, inner)
            if isinstance(node.func.value, (ast.Name, ast.Subscript)):
                self.assign(node.func.value, result, node, frame)
            return Const(None)
        if not positional or not isinstance(positional[0], Const):
            return UNKNOWN
        key = positional[0].value
        default = positional[1] if len(positional) > 1 else Const(None)
        found = base.get(key)
        if found is not None:
            return found
        if name == "setdefault" and isinstance(node.func.value, ast.Name):
            self.assign(node.func.value, base.put(key, default), node, frame)
        return default

    def _parser(
        self, parser: Parser, name: str, node: ast.Call, arguments: Given, frame: Frame
    ) -> Value:
        options = self.state.options.setdefault(parser.at, {})
        if name == "add_argument":
            self._add_option(options, node, frame)
            return UNKNOWN
        if name in {"add_argument_group", "add_mutually_exclusive_group", "add_parser"}:
            return parser
        if name == "add_subparsers":
            return parser
        if name == "parse_args":
            return Arguments(parser.at)
        if name == "parse_known_args":
            return Row((Arguments(parser.at), UNKNOWN))
        if name == "set_defaults":
            for key, value in arguments[1].items():
                old = options.get(key)
                if isinstance(old, Chosen):
                    options[key] = replace(old, default=value)
        return UNKNOWN

    def _add_option(self, options: dict[str, Value], node: ast.Call, frame: Frame) -> None:
        flag = flag_name(node)
        if flag is None:
            return
        name = flag
        for keyword in node.keywords:
            if keyword.arg == "dest" and isinstance(keyword.value, ast.Constant):
                name = str(keyword.value.value)
        default = flag_default(node)
        if isinstance(default, Unknown):
            for keyword in node.keywords:
                if keyword.arg == "default":
                    default = self.evaluate(keyword.value, frame)
        at = line_of(frame, node)
        options[name] = Chosen(
            "option", flag, default, at, typed_flag(node), choices=option_choices(node)
        )
        if flag != name and flag in self.state.overrides:
            self.state.overrides.setdefault(name, self.state.overrides[flag])
