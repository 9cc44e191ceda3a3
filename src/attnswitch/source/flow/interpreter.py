"""Statements: runs blocks of a function or module over abstract values."""

# ruff: noqa: N802 - handlers are named after the syntax nodes and functions they take

from __future__ import annotations

import ast
import re

from attnswitch.source import words
from attnswitch.source.dynamic import dynamic_imports, registers
from attnswitch.source.flow import strings
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.state import UNKNOWN, Frame, line_of
from attnswitch.source.flow.targets import Targets
from attnswitch.source.flow.truth import branch, installed
from attnswitch.source.flow.values import (
    ALWAYS,
    Class,
    Const,
    Function,
    Guard,
    Loaded,
    Mapping,
    Row,
    Unknown,
    Value,
    choose,
)
from attnswitch.source.mechanisms.place import catches_import_errors, imports_kernel
from attnswitch.source.project import Module, Symbol
from attnswitch.source.records import Line
from attnswitch.source.walking import nested_blocks

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

#: A relative import, or what looks like one.
_RELATIVE = re.compile(r"\bfrom\s+\.")
#: The method that runs each kind of statement, where there is one.
_RUNS = {kind: f"_{kind.__name__}" for kind in ast.stmt.__subclasses__()}


class Interpreter(Targets):
    """Walks one program. `run_module` starts it; events collect in `state`."""

    def run_module(self, module: Module, is_main: bool) -> None:
        """Run the top of a module: the program itself, or an import."""
        if module.path in self.state.imported:
            return
        quiet = self.knowledge.quiet
        if not is_main and module in quiet:
            self.state.imported |= quiet.closure(module)
            return
        self.state.imported.add(module.path)
        if not is_main or self._belongs_to_a_package(module):
            self.import_packages(module)
        frame = Frame(module)
        if is_main:
            frame.names["__name__"] = Const("__main__")
        else:
            frame.names["__name__"] = Const(module.path)
        saved = self.state.guard
        self.block(module.tree.body, frame, top=True)
        for sibling in dynamic_imports(self.project, module):
            self.run_module(sibling, is_main=False)
        self.state.guard = saved

    def import_packages(self, module: Module) -> None:
        """Run the packages around a module, as importing it does."""
        for package in self.knowledge.quiet.packages(module):
            self.run_module(package, is_main=False)

    def _belongs_to_a_package(self, module: Module) -> bool:
        """True for a program that starts with `python -m`, as those do that import relatively."""
        if module.path in self.project.started_as_modules:
            return True
        return bool(_RELATIVE.search(module.text)) and any(
            isinstance(node, ast.ImportFrom) and node.level > 0
            for node in self.project.mentions(module.tree).imports
        )

    # -- blocks -----------------------------------------------------------------------------

    def block(self, body: list[ast.stmt], frame: Frame, top: bool = False) -> bool:
        """Run statements; True if control cannot fall out at the end."""
        for statement in body:
            if not self.state.spend():
                return True
            if self.statement(statement, frame, top):
                return True
        return False

    def statement(self, node: ast.stmt, frame: Frame, top: bool) -> bool:
        """Run one statement; True if it leaves the block."""
        handler = getattr(self, _RUNS[node.__class__], None)
        if handler is not None:
            return bool(handler(node, frame, top))
        for _, inner in nested_blocks(node):
            self.block(inner, frame, top)
        return False

    def _FunctionDef(self, node: ast.FunctionDef, frame: Frame, top: bool) -> bool:
        for decorator in node.decorator_list:
            self.evaluate(decorator, frame)
        symbol = Symbol("function", node.name, frame.module, node)
        self.closures[symbol.key] = frame
        frame.names[node.name] = Function(symbol)
        if node.decorator_list and registers(self.project, frame.module, node):
            self.state.registered.append(symbol)
        return False

    _AsyncFunctionDef = _FunctionDef

    def _ClassDef(self, node: ast.ClassDef, frame: Frame, top: bool) -> bool:
        symbol = Symbol("class", node.name, frame.module, node)
        frame.names[node.name] = Class(symbol)
        if node.decorator_list and registers(self.project, frame.module, node):
            self.state.registered.append(symbol)
        return False

    def _Import(self, node: ast.Import, frame: Frame, top: bool) -> bool:
        self._need(node, frame)
        for alias in node.names:
            self.bind_import(node, alias, frame)
        return False

    def _ImportFrom(self, node: ast.ImportFrom, frame: Frame, top: bool) -> bool:
        self._need(node, frame)
        source = self.project.imported_from(frame.module, node)
        if source is not None:
            self.import_module(source)
        for alias in node.names:
            if alias.name != "*":
                self.bind_import(node, alias, frame)
        return False

    def _need(self, node: ast.Import | ast.ImportFrom, frame: Frame) -> None:
        if imports_kernel(node) and not self.protected:
            name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            target = words.package_target(name or "") or "flash"
            where = Line(frame.module.path, node.lineno)
            self.state.record(Event("need", target, where, detail=name or ""))

    def _Assign(self, node: ast.Assign, frame: Frame, top: bool) -> bool:
        value = self.evaluate(node.value, frame)
        if isinstance(value, Unknown):
            value = self._handed_through(node, frame) or value
        for target in node.targets:
            self.assign(target, value, node.value, frame)
        return False

    def _handed_through(self, node: ast.Assign, frame: Frame) -> Value | None:
        """`model = get_peft_model(model)` by somebody unknown: a model or dictionary stays one."""
        target = node.targets[0]
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Call):
            for item in node.value.args:
                if isinstance(item, ast.Name) and item.id == target.id:
                    old = frame.lookup(item.id)
                    return old if isinstance(old, (Mapping, Loaded)) else None
        return None

    def _AnnAssign(self, node: ast.AnnAssign, frame: Frame, top: bool) -> bool:
        if node.value is not None:
            value = self.evaluate(node.value, frame)
            if isinstance(value, Loaded):
                value = self._annotated_model(node, frame) or value
            self.assign(node.target, value, node.value, frame)
        return False

    def _annotated_model(self, node: ast.AnnAssign, frame: Frame) -> Value | None:
        """`model: Judge = AutoModelForCausalLM.from_pretrained(…)` loads that class of the tree."""
        made = self.evaluate(node.annotation, frame)
        if not isinstance(made, Class):
            return None
        return self.create(made.symbol, ([], {}, True), line_of(frame, node))

    def _AugAssign(self, node: ast.AugAssign, frame: Frame, top: bool) -> bool:
        value = self.evaluate(node.value, frame)
        if isinstance(node.target, ast.Name):
            old = frame.lookup(node.target.id) or UNKNOWN
            is_sum = isinstance(node.op, ast.Add)
            frame.names[node.target.id] = strings.added(old, value) if is_sum else UNKNOWN
        return False

    def _Global(self, node: ast.Global, frame: Frame, top: bool) -> bool:
        frame.shared.update(node.names)
        return False

    def _Expr(self, node: ast.Expr, frame: Frame, top: bool) -> bool:
        self.evaluate(node.value, frame)
        return False

    def _Return(self, node: ast.Return, frame: Frame, top: bool) -> bool:
        value = self.evaluate(node.value, frame) if node.value else Const(None)
        frame.returns.append((self.state.guard, value))
        return True

    def _Raise(self, node: ast.Raise, frame: Frame, top: bool) -> bool:
        return True

    def _Continue(self, node: ast.stmt, frame: Frame, top: bool) -> bool:
        return True

    _Break = _Continue

    def _Assert(self, node: ast.Assert, frame: Frame, top: bool) -> bool:
        # What an assert demands is a finding of its own; it chooses nothing.
        truth = self.test(node.test, frame)
        self._demand(truth.yes if truth.known is None else ALWAYS, node, frame)
        return truth.known is False

    def _demand(self, needed: Guard, node: ast.stmt, frame: Frame) -> None:
        """Note packages without which the program stops here."""
        packages = [lit for lit in needed if lit.kind == "package" and not lit.negated]
        if len(packages) == len(needed) == 1:
            name = packages[0].name
            where = Line(frame.module.path, node.lineno)
            self.state.record(
                Event("need", words.package_target(name) or "flash", where, detail=name)
            )

    def _If(self, node: ast.If, frame: Frame, top: bool) -> bool:
        truth = self.test(node.test, frame)
        if truth.known is not None:
            return self.block(node.body if truth.known else node.orelse, frame, top)
        start = self.state.guard
        before = dict(frame.names)
        self.state.guard = start | (ALWAYS if _only_way(node, truth.yes) else truth.yes)
        left = self.block(node.body, frame, top)
        yes_names, yes_guard = frame.names, self.state.guard
        frame.names = dict(before)
        self.state.guard = start | truth.no
        right = self.block(node.orelse, frame, top)
        no_names, no_guard = frame.names, self.state.guard
        if left and right:
            return True
        if left and isinstance(node.body[-1], ast.Raise) and len(node.body) == 1:
            self.state.guard = start
            self._demand(truth.no, node, frame)
        if left or right:
            frame.names = no_names if left else yes_names
            self.state.guard = no_guard if left else yes_guard
            return False
        self.state.guard = start
        frame.names = _merged(yes_names, no_names, truth.yes, truth.no)
        return False

    def _For(self, node: ast.For, frame: Frame, top: bool) -> bool:
        rows = self.evaluate(node.iter, frame)
        item: Value = UNKNOWN
        if isinstance(rows, Row) and rows.items:
            item = choose((branch(f"item {i}").yes, v) for i, v in enumerate(rows.items))
        self.assign(node.target, item, node.iter, frame)
        self._loop(node.body, frame)
        self.block(node.orelse, frame)
        return False

    _AsyncFor = _For

    def _While(self, node: ast.While, frame: Frame, top: bool) -> bool:
        truth = self.test(node.test, frame)
        if truth.known is not False:
            self._loop(node.body, frame)
        return False

    def _loop(self, body: list[ast.stmt], frame: Frame) -> None:
        guard, before = self.state.guard, dict(frame.names)
        self.block(body, frame)
        self.state.guard = guard
        again = branch("the loop runs")
        frame.names = _merged(frame.names, before, again.yes, again.no, keep_new=True)

    def _With(self, node: ast.With, frame: Frame, top: bool) -> bool:
        for item in node.items:
            value = self.evaluate(item.context_expr, frame)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value, item.context_expr, frame)
        return self.block(node.body, frame, top)

    _AsyncWith = _With

    def _Try(self, node: ast.Try, frame: Frame, top: bool) -> bool:
        package = self.tried_package(node, frame.module)
        protected = self.protected
        self.protected = protected or (bool(node.handlers) and catches_import_errors(node))
        start, before = self.state.guard, dict(frame.names)
        if package:
            truth = installed(package)
            self.state.guard = start | truth.yes
        left = self.block(node.body, frame, top) or self.block(node.orelse, frame, top)
        self.protected = protected
        names = frame.names
        ends = bool(node.handlers)
        for handler in node.handlers:
            frame.names = dict(before)
            condition = installed(package).no if package else branch("an error").yes
            self.state.guard = start | condition
            if not self.block(handler.body, frame, top):
                ends = False
                yes = installed(package).yes if package else branch("an error").no
                names = _merged(names, frame.names, yes, condition) if not left else frame.names
        frame.names = names
        self.state.guard = start
        self.block(node.finalbody, frame, top)
        return left and ends

    _TryStar = _Try


def _only_way(node: ast.If, holds: Guard) -> bool:
    """True where an option has to keep its default: anything else raises an error."""
    other = node.orelse
    by_default = all(lit.kind in {"option", "config"} and lit.by_default is True for lit in holds)
    return bool(holds) and by_default and len(other) == 1 and isinstance(other[0], ast.Raise)


def _merged(
    left: dict[str, Value],
    right: dict[str, Value],
    yes: Guard,
    no: Guard,
    keep_new: bool = False,
) -> dict[str, Value]:
    names = dict(right)
    for name, value in left.items():
        other = right.get(name)
        if other is None:
            names[name] = value
        elif other != value:
            if isinstance(value, Mapping) and isinstance(other, Mapping):
                names[name] = _merged_mapping(value, other, yes, no)
            else:
                names[name] = choose([(yes, value), (no, other)])
    return names


def _merged_mapping(left: Mapping, right: Mapping, yes: Guard, no: Guard) -> Mapping:
    merged = Mapping((), left.rest or right.rest)
    keys = [k for k, _ in left.items] + [k for k, _ in right.items if left.get(k) is None]
    for key in keys:
        mine, other = left.get(key), right.get(key)
        if mine == other and mine is not None:
            merged = merged.put(key, mine)
        else:
            absent = Const(None)
            merged = merged.put(key, choose([(yes, mine or absent), (no, other or absent)]))
    return merged
