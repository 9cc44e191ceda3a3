"""Expressions: what names, attributes, entries and operators are worth."""

# ruff: noqa: N802, N815 - handlers are named after the syntax nodes and functions they take

from __future__ import annotations

import ast

from attnswitch.source import words
from attnswitch.source.flow import truth as truths
from attnswitch.source.flow.names import Names
from attnswitch.source.flow.state import UNKNOWN, Frame, line_of
from attnswitch.source.flow.truth import Truth
from attnswitch.source.flow.values import (
    Arguments,
    Bound,
    Chosen,
    Class,
    Const,
    External,
    Function,
    Instance,
    Mapping,
    ModuleValue,
    Row,
    Unknown,
    Value,
    apply,
    choose,
)
from attnswitch.source.project import Symbol, dotted_text, find_method

#: Methods of every module of torch that give the module back.
_RETURNS_ITSELF = frozenset(
    {"to", "half", "float", "double", "bfloat16", "cuda", "cpu", "eval", "requires_grad_"}
)
ITSELF = External("<itself>")
#: The method that evaluates each kind of expression.
_EVALUATES: dict[type[ast.AST], str] = {
    kind: f"_eval_{kind.__name__}" for kind in ast.expr.__subclasses__()
}


class Expressions(Names):
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
        return found if found is not None else self.global_name(frame.module, node.id)

    # -- attributes and entries -------------------------------------------------------------

    def _eval_Attribute(self, node: ast.Attribute, frame: Frame) -> Value:
        base = self.evaluate(node.value, frame)
        return apply(base, lambda value: self.attribute(value, node, frame))

    def attribute(self, base: Value, node: ast.Attribute, frame: Frame) -> Value:
        """`base.attr` for one alternative of the base."""
        name = node.attr
        if isinstance(base, ModuleValue):
            symbol = self.project.attribute(base.module, name)
            return self.symbol_value(symbol) if symbol else UNKNOWN
        if isinstance(base, External):
            full = f"{base.dotted}.{name}"
            module = self.project.find_module(frame.module.folder, full)
            return ModuleValue(module) if module else External(full)
        if isinstance(base, Arguments):
            return self.option(base, name)
        if isinstance(base, (Instance, Class)):
            found = self.member(base, name)
            if found is not None:
                return found
            if name in _RETURNS_ITSELF:
                return Bound(ITSELF, (base,))
        else:
            written = self.state.attributes.get((dotted_text(node.value) + frame.function, name))
            if written is not None:
                return written
        return self.unknown_attribute(name, dotted_text(node))

    def unknown_attribute(self, name: str, text: str) -> Value:
        """An attribute of an object that could not be followed: a known option, or a field."""
        if not (words.is_setting(name) or words.is_switch(name)):
            return Unknown(text)
        option = self.knowledge.options.get(name)
        if option is not None and "config" not in text:
            return self.state.overridden("option", name) or option
        default = self.knowledge.config_defaults.get(name, UNKNOWN)
        return Chosen("config", name, default)

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
                return self.state.overridden("option", name) or field
        return None

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
        if isinstance(base, Mapping) and base.items:
            text = ast.unparse(node.slice)
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

    # -- operators --------------------------------------------------------------------------

    def _eval_IfExp(self, node: ast.IfExp, frame: Frame) -> Value:
        truth = self.test(node.test, frame)
        if truth.known is not None:
            return self.evaluate(node.body if truth.known else node.orelse, frame)
        guard = self.state.guard
        self.state.guard = guard | truth.yes
        left = self.evaluate(node.body, frame)
        self.state.guard = guard | truth.no
        right = self.evaluate(node.orelse, frame)
        self.state.guard = guard
        return choose([(truth.yes, left), (truth.no, right)])

    def _eval_BoolOp(self, node: ast.BoolOp, frame: Frame) -> Value:
        values = [self.evaluate(v, frame) for v in node.values]
        result = values[0]
        is_and = isinstance(node.op, ast.And)
        for value, source in zip(values[1:], node.values[1:], strict=False):
            truth = truths.truth_of(result, ast.unparse(source))
            if truth.known is not None:
                result = value if truth.known is is_and else result
                continue
            skip, take = (truth.no, truth.yes) if is_and else (truth.yes, truth.no)
            kept: Value = Const(False) if is_and else result
            result = choose([(take, value), (skip, kept)])
        return result

    def _eval_UnaryOp(self, node: ast.UnaryOp, frame: Frame) -> Value:
        if isinstance(node.op, ast.Not):
            return self._as_value(self.test(node, frame))
        value = self.evaluate(node.operand, frame)
        if (
            isinstance(value, Const)
            and isinstance(node.op, ast.USub)
            and isinstance(value.value, (int, float))
        ):
            return Const(-value.value)
        return UNKNOWN

    def _eval_Compare(self, node: ast.Compare, frame: Frame) -> Value:
        return self._as_value(self.test(node, frame))

    def _as_value(self, truth: Truth) -> Value:
        if truth.known is not None:
            return Const(truth.known)
        return choose([(truth.yes, Const(True)), (truth.no, Const(False))])

    def test(self, node: ast.expr, frame: Frame) -> Truth:
        """When a test holds."""
        text = _short(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.test(node.operand, frame).inverse()
        if isinstance(node, ast.BoolOp):
            parts = [self.test(v, frame) for v in node.values]
            if isinstance(node.op, ast.And):
                return truths.both(parts, text)
            return truths.both([p.inverse() for p in parts], f"not ({text})").inverse()
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left = self.evaluate(node.left, frame)
            right = self.evaluate(node.comparators[0], frame)
            return truths.compare(left, type(node.ops[0]).__name__, right, text)
        return truths.truth_of(self.evaluate(node, frame), text)

    # -- literals ---------------------------------------------------------------------------

    def _eval_Dict(self, node: ast.Dict, frame: Frame) -> Value:
        result = Mapping()
        for key, value in zip(node.keys, node.values, strict=False):
            item = self.evaluate(value, frame)
            if key is None:
                if isinstance(item, Mapping):
                    for name, inner in item.items:
                        result = result.put(name, inner)
                    result = Mapping(result.items, result.rest or item.rest)
                else:
                    result = Mapping(result.items, True)
                continue
            name = self.evaluate(key, frame)
            if isinstance(name, Const):
                result = result.put(name.value, item)
            else:
                result = Mapping(result.items, True)
        return result

    def _eval_Tuple(self, node: ast.Tuple | ast.List, frame: Frame) -> Value:
        return Row(tuple(self.evaluate(e, frame) for e in node.elts))

    _eval_List = _eval_Set = _eval_Tuple

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


def _short(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 70 else text[:69] + "…"
