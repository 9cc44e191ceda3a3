"""Expressions: what names, attributes and entries are worth."""

# ruff: noqa: N802 - handlers are named after the syntax nodes and functions they take

from __future__ import annotations

import ast
import re
from dataclasses import replace

from attnswitch.source import words
from attnswitch.source.flow import strings
from attnswitch.source.flow import truth as truths
from attnswitch.source.flow.composite import asked_in, asking, is_a_part
from attnswitch.source.flow.operators import Operators
from attnswitch.source.flow.state import UNKNOWN, Frame, line_of
from attnswitch.source.flow.values import (
    MOST_ALTERNATIVES,
    NOTHING,
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
    ModuleValue,
    Row,
    Super,
    Template,
    Unknown,
    Value,
    apply,
    choose,
    one_of_many,
)
from attnswitch.source.project import Module, Symbol, dotted_text, find_method

#: Methods of every module of torch that give the module back.
_RETURNS_ITSELF = frozenset(
    {"to", "half", "float", "double", "bfloat16", "cuda", "cpu", "eval", "requires_grad_"}
)
ITSELF = External("<itself>")
#: `args.use_flash_attn`, `get_args().use_flash_attn`.
_ARGUMENTS = re.compile(r"(?:^|[._])args(?:\(\))?\.\w+$")
#: The method that evaluates each kind of expression.
_EVALUATES: dict[type[ast.AST], str] = {
    kind: f"_eval_{kind.__name__}" for kind in ast.expr.__subclasses__()
}


class Expressions(Operators):
    """Evaluates expressions; calls are left to `Calls`."""

    def evaluate(self, node: ast.AST, frame: Frame) -> Value:
        """The abstract value of an expression."""
        name = _EVALUATES.get(node.__class__)
        handler = getattr(self, name, None) if name else None
        if handler is not None:
            return handler(node, frame)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.evaluate(child, frame)
        return Unknown(type(node).__name__)

    # -- names ------------------------------------------------------------------------------

    def _eval_Constant(self, node: ast.Constant, frame: Frame) -> Value:
        return Const(node.value, line_of(frame, node))

    def _eval_Name(self, node: ast.Name, frame: Frame) -> Value:
        found = frame.lookup(node.id)
        if found is None:
            return self.global_name(frame.module, node.id)
        given = self._tower_given(node.id)
        if given is None:
            return found
        return apply(found, lambda value: given if isinstance(value, Unknown) else value)

    def _tower_given(self, name: str) -> Value | None:
        """`vision_tower_name`, of which nothing is known: what a script gives as --vision_tower."""
        option = words.tower_option(name)
        return self.state.overridden("option", option) if option else None

    # -- attributes and entries -------------------------------------------------------------

    def _eval_Attribute(self, node: ast.Attribute, frame: Frame) -> Value:
        base = self.evaluate(node.value, frame)
        return apply(base, lambda value: self.attribute(value, node, frame))

    def attribute(self, base: Value, node: ast.Attribute, frame: Frame) -> Value:
        """`base.attr` for one alternative of the base."""
        name = node.attr
        if isinstance(base, ModuleValue) and name == "__dict__":
            return self._names_of_a_module(base.module)
        if isinstance(base, ModuleValue):
            symbol = self.project.attribute(base.module, name)
            return self.symbol_value(symbol) if symbol else UNKNOWN
        if isinstance(base, External):
            full = f"{base.dotted}.{name}"
            module = self.project.find_module(frame.module.folder, full)
            return ModuleValue(module) if module else External(full)
        if isinstance(base, Super):
            return self._of_a_base(base, name)
        if isinstance(base, Mapping):
            entry = base.get(name)  # configurations are read either way
            if entry is not None:
                return entry
            if is_a_part(name) and (asked := asked_in(base)) is not None:
                return asking(asked)
        if isinstance(base, (Const, Chosen)) and strings.is_method(name):
            return Bound(External(strings.METHOD_OF + name), (base,))
        if isinstance(base, Arguments):
            return self.option(base, name)
        if isinstance(base, (Instance, Class)):
            found = self.member(base, name)
            if is_a_part(name) and (asked := asked_in(base)) is not None:
                if isinstance(found, Instance):
                    return replace(found, asked=asked)
                if found is None or isinstance(found, Unknown):
                    return asking(asked)
            if found is not None:
                return found
            if name in _RETURNS_ITSELF:
                return Bound(ITSELF, (base,))
            if name == "training" and not self.state.trains:
                return Const(False)  # what from_pretrained gives is in evaluation mode
        else:
            written = self.state.attributes.get((dotted_text(node.value) + frame.function, name))
            if written is not None:
                return written
        return self.unknown_attribute(name, dotted_text(node))

    def _of_a_base(self, base: Super, name: str) -> Value:
        """The method that the next class of the tree gives to an object."""
        assert isinstance(base.owner, (Instance, Class))
        passed = False
        for symbol in self.ancestry(base.owner.symbol):
            if passed and isinstance(symbol.node, ast.ClassDef):
                method = find_method(symbol.node, name)
                if method is not None:
                    inner = Symbol("function", f"{symbol.dotted}.{name}", symbol.module, method)
                    return Function(inner, base.owner)
            passed = passed or symbol.key == base.after.key
        return UNKNOWN

    def _names_of_a_module(self, module: Module) -> Value:
        """`package.__dict__`: the modules, classes and functions that the top of a module binds."""
        found = ((name, self.project.attribute(module, name)) for name in module.bindings)
        held = tuple(
            (name, self.symbol_value(symbol))
            for name, symbol in found
            if symbol is not None and symbol.kind in {"module", "class", "function"}
        )
        return Mapping(held, rest=not held)

    def unknown_attribute(self, name: str, text: str) -> Value:
        """An attribute of an object that could not be followed: a known option, or a field."""
        if not (words.is_setting(name) or words.is_switch(name)):
            return self._tower_given(name) or Unknown(text)
        option = self.knowledge.option(name, self.state.imported)
        if option is not None and "config" not in text:
            return self.state.overridden("option", name) or option
        if _ARGUMENTS.search(text):  # of a parser outside the tree
            return self.state.overridden("option", name) or Chosen("option", name, UNKNOWN)
        given = self.state.given(name)
        if given is not None:
            return given
        return Chosen("config", name, self.knowledge.config_default(name))

    def option(self, arguments: Arguments, name: str) -> Value:
        """An attribute of parsed arguments."""
        given = self.state.overridden("option", name)
        if given is not None:
            return given
        written = self.state.attributes.get((arguments, name))
        if written is not None:
            return written
        return self.state.options.get(arguments.at, {}).get(name) or self.unknown_attribute(
            name, name
        )

    def member(self, base: Instance | Class, name: str) -> Value | None:
        """A method, class attribute, option field or written attribute."""
        asked = base.asked if isinstance(base, Instance) and words.is_setting(name) else None
        if asked not in (None, NOTHING):
            return asked
        for symbol in self.ancestry(base.symbol):
            written = self.state.attributes.get((symbol.key, name))
            if written is not None:
                return written
        for symbol in self.ancestry(base.symbol):
            assert isinstance(symbol.node, ast.ClassDef) and symbol.module is not None
            method = find_method(symbol.node, name)
            if method is not None:
                inner = Symbol("function", f"{symbol.dotted}.{name}", symbol.module, method)
                return Function(inner, base)
            field = self.knowledge.field(symbol, name)
            if field is not None:
                if isinstance(field, Chosen) and base.symbol.key in self.state.parsed:
                    field = replace(field, kind="option")
                return self.state.overridden("option", name) or field
        return asked

    def is_config(self, symbol: Symbol | None) -> bool:
        """True for configuration classes, by their names or their bases."""
        if symbol is None or not isinstance(symbol.node, ast.ClassDef):
            return False
        names = [symbol.node.name, *(dotted_text(b) for b in symbol.node.bases)]
        return any(n.endswith("Config") for n in names)

    def _eval_Subscript(self, node: ast.Subscript, frame: Frame) -> Value:
        base = self.evaluate(node.value, frame)
        key = self.evaluate(node.slice, frame)
        return apply(base, lambda value: self.entry(value, key, node, frame))

    def entry(self, base: Value, key: Value, node: ast.Subscript, frame: Frame) -> Value:
        """`base[key]` for one alternative of the base."""
        if isinstance(base, Mapping) and isinstance(key, Const):
            return base.get(key.value) or UNKNOWN
        if isinstance(base, Mapping) and isinstance(key, Choice):
            return choose((g, self.entry(base, k, node, frame)) for g, k in key.options)
        if isinstance(base, Chosen) and base.derived:
            return base
        if isinstance(base, Mapping) and len(base.items) > MOST_ALTERNATIVES:
            return one_of_many(base)
        if isinstance(base, Mapping) and base.items:
            text = ast.unparse(node.slice)
            if isinstance(key, (Unknown, Template)) and words.is_setting(text.split(".")[-1]):
                key = Chosen("config", text, UNKNOWN)  # "mla_" + config._attn_implementation
            pairs = []
            for name, value in base.items:
                test = truths.compare(key, "Eq", Const(name), f"{text} == {name!r}")
                if test.known is not False:
                    pairs.append((test.yes, value))
            return choose(pairs)
        if (
            isinstance(base, Row)
            and isinstance(key, Const)
            and isinstance(key.value, int)
            and -len(base.items) <= key.value < len(base.items)
        ):
            return base.items[key.value]
        if (
            isinstance(base, External)
            and base.dotted.endswith("environ")
            and isinstance(key, Const)
            and isinstance(key.value, str)
        ):
            return self.variable(key.value, UNKNOWN)
        if isinstance(key, Const) and isinstance(key.value, str):
            return self.unknown_attribute(key.value, dotted_text(node.value) + " config")
        return UNKNOWN

    def variable(self, name: str, default: Value) -> Value:
        """An environment variable."""
        given = self.state.overridden("variable", name)
        if given is not None:
            return given
        if words.VARIABLE.search(name):
            return Chosen("variable", name, default)
        return Unknown(name)

    def _eval_Call(self, node: ast.Call, frame: Frame) -> Value:
        return self.call(node, frame)

    def _eval_Await(self, node: ast.Await, frame: Frame) -> Value:
        return self.evaluate(node.value, frame)

    def _eval_NamedExpr(self, node: ast.NamedExpr, frame: Frame) -> Value:
        value = self.evaluate(node.value, frame)
        frame.names[node.target.id] = value
        return value

    def _eval_Lambda(self, node: ast.Lambda, frame: Frame) -> Value:
        return Unknown("lambda")
