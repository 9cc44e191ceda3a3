"""Calls: into the tree, and the few outside functions that steer attention."""

from __future__ import annotations

import ast
import re

from attnswitch.source import words
from attnswitch.source.flow import truth as truths
from attnswitch.source.flow.composite import SOME_WHOLE_MODEL, picks_a_whole_model
from attnswitch.source.flow.described import Described
from attnswitch.source.flow.expressions import ITSELF
from attnswitch.source.flow.machine import Given
from attnswitch.source.flow.methods import Methods
from attnswitch.source.flow.named_classes import NamedClasses
from attnswitch.source.flow.outside import Outside
from attnswitch.source.flow.parsers import Parsers
from attnswitch.source.flow.state import DEPTH, UNKNOWN, Frame, Remembered, line_of
from attnswitch.source.flow.values import (
    ALWAYS,
    Bound,
    Choice,
    Chosen,
    Class,
    Const,
    External,
    Function,
    Guard,
    Instance,
    Loaded,
    Mapping,
    Row,
    Unknown,
    Value,
    alternatives,
    choose,
)
from attnswitch.source.project import FunctionNode, Module, Symbol, dotted_text
from attnswitch.source.records import Line

#: Lines of a function that only turns one text into another.
_SHORT = 12
#: A method of a class of the tree, to be tried on an object that could not be followed.
Method = tuple[Symbol, ast.AST]
#: Names that too many objects have; a constructor belongs to the class that `super()` means.
_NOT_BY_NAME = frozenset({"forward", "generate", "train", "eval", "to", "__init__"})


class Calls(Methods, Outside, Parsers, Described, NamedClasses):
    """Evaluates calls."""

    def call(self, node: ast.Call, frame: Frame) -> Value:
        """Evaluate a call under the conditions of each function it may reach."""
        function = self.evaluate(node.func, frame)
        if isinstance(function, Unknown) and isinstance(node.func, ast.Subscript):
            function = self._from_a_table(node.func, node, frame) or function
        arguments = self._arguments(node, frame)
        name = dotted_text(node.func).split(".")[-1]
        special = self._method(node, name, function, arguments, frame)
        if special is None:
            special = self.read_configuration(name, arguments)
        if special is None and name == "to_dict" and isinstance(node.func, ast.Attribute):
            special = self.parsed_options(node.func.value, frame)
        if special is not None:
            return special
        if not isinstance(function, Choice):
            return self._one(function, node, name, arguments, frame)
        results = []
        for guard, item in function.options:
            saved, self.state.guard = self.state.guard, self.state.guard | guard
            results.append((guard, self._one(item, node, name, arguments, frame)))
            self.state.guard = saved
        return choose(results)

    def _from_a_table(self, entry: ast.Subscript, node: ast.Call, frame: Frame) -> Value | None:
        """`LOADERS[family](path, use_flash_attn=x)`, of a table that decorators fill."""
        handed = bool(node.args or node.keywords)
        if handed and self.evaluate(entry.value, frame) == Mapping():
            return self.registered_in(dotted_text(entry.value))
        return None

    def _arguments(self, node: ast.Call, frame: Frame) -> Given:
        positional: list[Value] = []
        keywords: dict[str, Value] = {}
        more = False
        for item in node.args:
            if isinstance(item, ast.Starred):
                value = self.evaluate(item.value, frame)
                positional.extend(value.items if isinstance(value, Row) else ())
                more = more or not isinstance(value, Row)
            else:
                positional.append(self.evaluate(item, frame))
        for keyword in node.keywords:
            value = self.evaluate(keyword.value, frame)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            else:
                spread = _spread(value)
                for key, inner in spread.items:
                    keywords.setdefault(str(key), inner)
                more = more or spread.rest
        return positional, keywords, more

    def _one(
        self, function: Value, node: ast.Call, name: str, arguments: Given, frame: Frame
    ) -> Value:
        if isinstance(function, Bound) and function.function == ITSELF:
            return function.args[0]
        if isinstance(function, Bound) and function.function != External("<parser>"):
            positional, keywords, more = arguments
            joined = {**dict(function.keywords), **keywords}
            inner = ([*function.args, *positional], joined, more)
            return self._one(function.function, node, name, inner, frame)
        if isinstance(function, Function):
            result = self.enter(function, arguments, line_of(frame, node))
            unknown = all(
                isinstance(v, Unknown) and not isinstance(v, Loaded)
                for _, v in alternatives(result)
            )
            if unknown and picks_a_whole_model(function.symbol):
                return SOME_WHOLE_MODEL
            return result
        if isinstance(function, Class):
            parser = self.parser_made(function, arguments)
            if parser is not None:
                return parser
            made = self.create(function.symbol, arguments, line_of(frame, node))
            return self.fresh(made, arguments)
        if isinstance(function, Instance):
            return self._run_module_object(function, arguments, line_of(frame, node))
        if isinstance(function, Const):
            return UNKNOWN  # None where a package is missing: the program ends here
        if isinstance(function, External):
            return self._external(function.dotted, node, arguments, frame)
        self._kernel(dotted_text(node.func), node, frame)
        self._start(dotted_text(node.func), arguments)
        if isinstance(node.func, ast.Attribute) and not self._holds(node.func, frame):
            return self._by_name(name, node, arguments, frame)
        self._callbacks(arguments, line_of(frame, node))
        return Unknown(dotted_text(node.func))

    def _holds(self, called: ast.Attribute, frame: Frame) -> bool:
        """`self.attention(x)` after `self.attention = nn.MultiheadAttention(…)`: no method."""
        owner = frame.lookup(called.value.id) if isinstance(called.value, ast.Name) else None
        return isinstance(owner, Instance) and self.member(owner, called.attr) is not None

    def _run_module_object(self, module: Instance, arguments: Given, at: Line) -> Value:
        """`self.attn(x)`: a module of torch runs its forward."""
        for name in ("__call__", "forward"):
            method = self.member(module, name)
            if isinstance(method, Function):
                return self.enter(method, arguments, at)
        return UNKNOWN

    # -- calls into the tree ------------------------------------------------------------------

    def enter(self, function: Function, arguments: Given, at: Line, follow: bool = False) -> Value:
        """Call a function of the tree, if it can tell something about attention.

        `follow`: call it in any case.
        """
        symbol = function.symbol
        node = symbol.node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or symbol.module is None:
            return UNKNOWN
        worth = follow or self.knowledge.interesting(symbol) or _makes_a_text(node, arguments)
        worth = worth or self._builds_what_it_is_handed(node, arguments)
        if not worth:
            self._callbacks(arguments, at)
            return UNKNOWN
        names = self._bind(symbol.module, node, function, arguments)
        key = (symbol.key, tuple(names.items()), self.protected)
        known = self.state.memory.get(key)
        if known is not None:
            for event in known.events:
                self.state.record(event)
            for (made, guard), line in known.made.items():
                self.note_made(made, guard, line)
            return known.value
        if key in self.state.running or len(self.state.running) > DEPTH:
            return UNKNOWN
        return self._run(symbol, node, function, names, key)

    def _builds_what_it_is_handed(self, node: FunctionNode, arguments: Given) -> bool:
        """True for `def setup(config, model_cls): model = model_cls(config)`, handed a model."""
        handed = (v for g in (*arguments[0], *arguments[1].values()) for _, v in alternatives(g))
        if not any(isinstance(v, Class) and self.knowledge.interesting(v.symbol) for v in handed):
            return False
        names = {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
        calls = self.project.mentions(node).calls
        return any(isinstance(c.func, ast.Name) and c.func.id in names for c in calls)

    def _run(
        self, symbol: Symbol, node: FunctionNode, function: Function, names: dict, key: object
    ) -> Value:
        assert symbol.module is not None
        self.state.running.append(key)
        self.state.visited.add((symbol.module.path, symbol.dotted))
        frame = Frame(symbol.module, names, symbol.dotted, function.owner)
        frame.outer = self.closures.get(symbol.key)
        frame.body = node
        if isinstance(function.owner, (Instance, Class)):
            frame.klass = function.owner.symbol
        saved_guard, self.state.guard = self.state.guard, ALWAYS
        saved_outer, self.state.outer = self.state.outer, self.state.outer | saved_guard
        saved_events, self.state.events = self.state.events, []
        saved_made, self.state.made = self.state.made, {}
        try:
            self.block(node.body, frame)
        except RecursionError:
            self.state.exhausted = True  # what was seen until here still counts
        events, self.state.events = self.state.events, saved_events
        made, self.state.made = self.state.made, saved_made
        self.state.guard, self.state.outer = saved_guard, saved_outer
        self.state.running.pop()
        for event in events:
            self.state.record(event)
        for (symbol, guard), line in made.items():
            self.state.made.setdefault((symbol, self.state.guard | guard), line)
        value = choose(frame.returns) if frame.returns else Const(None)
        self.state.memory[key] = Remembered(events, made, value)
        return value

    def _bind(
        self, module: Module, node: FunctionNode, function: Function, arguments: Given
    ) -> dict[str, Value]:
        positional, keywords, more = arguments
        spec = node.args
        names = [a.arg for a in (*spec.posonlyargs, *spec.args)]
        values: dict[str, Value] = {}
        given = list(positional)
        decorators = {dotted_text(d) for d in node.decorator_list}
        if function.owner is not None and "staticmethod" not in decorators:
            given.insert(0, function.owner)
        for name, value in zip(names, given, strict=False):
            values[name] = value
        defaults = dict(zip(names[len(names) - len(spec.defaults) :], spec.defaults, strict=False))
        for argument, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=False):
            names.append(argument.arg)
            if default is not None:
                defaults[argument.arg] = default
        extra = Mapping((), more)
        for name, value in keywords.items():
            if name in names:
                values[name] = value
            else:
                extra = extra.put(name, value)
        outside = Frame(module)
        annotations = {a.arg: a.annotation for a in (*spec.args, *spec.kwonlyargs)}
        by_others = more and not positional and not keywords  # called from outside the tree
        for name in names:
            if name in values:
                continue
            setting = words.is_setting(name) or words.is_switch(name)
            if name in defaults and (setting or not by_others):
                values[name] = self.evaluate(defaults[name], outside)
                if more and words.is_switch(name) and self._configures(function):
                    values[name] = Chosen("config", name, values[name])
            else:
                values[name] = self._annotated(annotations.get(name), outside)
        for name, value in values.items():
            if isinstance(value, Unknown) and not isinstance(value, Loaded):
                values[name] = UNKNOWN  # whatever it is called: one call for all of them
        if spec.kwarg:
            values[spec.kwarg.arg] = extra
        if spec.vararg:
            values[spec.vararg.arg] = UNKNOWN
        return values

    def _configures(self, function: Function) -> bool:
        """True for the constructor of a configuration, which a checkpoint gives its arguments."""
        owner = function.owner.symbol if isinstance(function.owner, (Instance, Class)) else None
        return function.symbol.dotted.endswith(".__init__") and self.is_config(owner)

    def _annotated(self, annotation: ast.expr | None, frame: Frame) -> Value:
        """An argument nobody gave: an object of the class in its annotation, if the tree has it."""
        if isinstance(annotation, (ast.Name, ast.Attribute)):
            value = self.evaluate(annotation, frame)
            if isinstance(value, Class):
                return Instance(value.symbol)
        return UNKNOWN

    def _by_name(self, name: str, node: ast.Call, arguments: Given, frame: Frame) -> Value:
        """A method of an object that could not be followed: if its name is rare, try them all."""
        worth = self.knowledge.methods_worth_following(name)
        candidates = [c for c in worth if self._loaded(c[0])] if len(worth) <= 60 else []
        self._callbacks(arguments, line_of(frame, node))
        candidates = self._without_other_towers(candidates)
        if not 0 < len(candidates) <= 3 or name in _NOT_BY_NAME:
            return Unknown(dotted_text(node.func))
        results: list[tuple[Guard, Value]] = []
        for symbol, method in candidates:
            inner = Symbol("function", f"{symbol.dotted}.{name}", symbol.module, method)
            several = truths.branch(f"the object is a {symbol.dotted}").yes
            guard = several if len(candidates) > 1 else ALWAYS
            saved, self.state.guard = self.state.guard, self.state.guard | guard
            value = self.enter(Function(inner, Instance(symbol)), arguments, line_of(frame, node))
            self.state.guard = saved
            results.append((guard, value))
        return choose(results)

    def _without_other_towers(self, candidates: list[Method]) -> list[Method]:
        """Where a script names the tower, it is one of those that were made by now."""
        if not isinstance(self.state.overridden("option", "vision_tower"), Const):
            return candidates
        return [
            (symbol, method)
            for symbol, method in candidates
            if words.role_of(symbol.dotted) != "vision_tower" or symbol.key in self.state.built
        ]

    def _loaded(self, symbol: Symbol) -> bool:
        """An object's class must have been imported by now."""
        return symbol.module is not None and symbol.module.path in self.state.imported

    def _callbacks(self, arguments: Given, at: Line) -> None:
        """Functions handed to code outside the tree are taken to be called, models to be built.

        So is the function that such a function gives back: a wrapper around the original.
        """
        for value in (*arguments[0], *arguments[1].values()):
            if isinstance(value, Bound) and isinstance(value.function, Function):
                self.enter(value.function, (list(value.args), dict(value.keywords), True), at)
            elif isinstance(value, Function):
                wrapper = self.enter(value, ([], {}, True), at)
                if isinstance(wrapper, Function):
                    self.enter(wrapper, ([], {}, True), at, follow=True)
            elif isinstance(value, (Mapping, Choice)):
                self.build_described(value, at)
            elif isinstance(value, Class) and _runs_elsewhere(value.symbol):
                self.create(value.symbol, ([], {}, True), at)

    def bind_import(
        self, node: ast.Import | ast.ImportFrom, alias: ast.alias, frame: Frame
    ) -> None:
        """Bind what an import inside a function or at the top of a module names."""
        symbol = self.project.import_symbol(frame.module, node, alias)
        if isinstance(node, ast.Import):
            module = self.project.find_module(frame.module.folder, alias.name)
            if module is not None:
                self.import_module(module)
        elif symbol is not None and symbol.kind == "module" and symbol.module:
            self.import_module(symbol.module)
        name = alias.asname or (
            alias.name if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0]
        )
        if frame.function:
            frame.names[name] = self.symbol_value(symbol) if symbol else UNKNOWN


def _makes_a_text(node: FunctionNode, arguments: Given) -> bool:
    """True for a short function that is handed a text: it may take the model's name from a path."""
    length = (node.end_lineno or node.lineno) - node.lineno
    if length > _SHORT or not isinstance(node.body[-1], (ast.Return, ast.If)):
        return False
    values = (*arguments[0], *arguments[1].values())
    return any(isinstance(v, (Const, Chosen)) for v in values)


def _spread(value: Value) -> Mapping:
    """What `**value` hands over: of several dictionaries, what each of them holds."""
    if isinstance(value, Mapping):
        return value
    maps = [(g, v) for g, v in alternatives(value) if isinstance(v, Mapping)]
    rest = len(maps) < len(list(alternatives(value))) or any(m.rest for _, m in maps)
    joined = Mapping(rest=rest)
    for key in dict.fromkeys(k for _, m in maps for k, _ in m.items):
        held = [(g, m.get(key) or Const(None)) for g, m in maps]
        joined = joined.put(key, choose(held))
    return joined


def _runs_elsewhere(symbol: Symbol) -> bool:
    """True for a class decorated with `@ray.remote(…)`: whoever is handed it starts it."""
    decorators = getattr(symbol.node, "decorator_list", [])
    return any(re.search(r"\bremote\b", ast.unparse(d)) for d in decorators)
