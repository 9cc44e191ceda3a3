"""Names: what the top of a module, an import or a flag around one gives a name."""

from __future__ import annotations

import ast

from attnswitch.source.flow.machine import Machine
from attnswitch.source.flow.state import UNKNOWN, Frame
from attnswitch.source.flow.truth import installed
from attnswitch.source.flow.values import (
    ALWAYS,
    Available,
    Bound,
    Class,
    Const,
    External,
    Function,
    Mapping,
    ModuleValue,
    Value,
    choose,
)
from attnswitch.source.mechanisms.place import imports_kernel
from attnswitch.source.project import Module, Symbol
from attnswitch.source.records import Line


class Names(Machine):
    """Finds what names of the tree stand for."""

    def import_module(self, module: Module) -> None:
        """Run the top of an imported module."""
        self.run_module(module, is_main=False)

    def global_name(self, module: Module, name: str) -> Value:
        """What a name at the top of a module is worth."""
        key = (module.path, name)
        if key in self._globals:
            return self._globals[key]
        self._globals[key] = UNKNOWN
        flag = self._import_flag(module, name)
        symbol = self.project.resolve(module, name)
        if flag is not None:
            value: Value = flag
        elif symbol is None:
            value = External(name) if name not in module.bindings else UNKNOWN
        else:
            value = self.symbol_value(symbol)
        self._globals[key] = value
        return value

    def set_global(self, module: Module, name: str, value: Value) -> None:
        """What a function assigns to a name that it declares global."""
        self._globals[(module.path, name)] = value

    def symbol_value(self, symbol: Symbol) -> Value:
        """The value of something found by name."""
        if symbol.kind == "function":
            return Function(symbol)
        if symbol.kind == "class":
            return Class(symbol)
        if symbol.kind == "module" and symbol.module:
            return ModuleValue(symbol.module)
        if symbol.kind == "external":
            return External(symbol.dotted)
        return self._assigned(symbol)

    def _assigned(self, symbol: Symbol) -> Value:
        module, node = symbol.module, symbol.node
        if module is None:
            return UNKNOWN
        flag = self._import_flag(module, symbol.dotted)
        if flag is not None:
            return flag
        value = getattr(node, "value", None)
        if value is None or isinstance(node, ast.AugAssign):
            return UNKNOWN
        plain = [
            t
            for t in getattr(node, "targets", [getattr(node, "target", None)])
            if isinstance(t, ast.Name)
        ]
        if not plain:
            return UNKNOWN
        guard, self.state.guard = self.state.guard, ALWAYS
        events = len(self.state.events)
        result = self.evaluate(value, Frame(module))
        del self.state.events[events:]
        self.state.guard = guard
        if len(module.bindings.get(symbol.dotted, ())) > 1 and isinstance(result, Const):
            return UNKNOWN
        if result == Mapping() and f"{symbol.dotted}.update(" in module.text:
            return self._table(module)
        return result

    def _table(self, module: Module) -> Mapping:
        """A dictionary filled from others of its module: all that they hold to be called."""
        entries: dict[object, Value] = {}
        for name, bindings in module.bindings.items():
            if isinstance(getattr(bindings[-1].node, "value", None), ast.Dict):
                group = self.global_name(module, name)
                for key, value in group.items if isinstance(group, Mapping) else ():
                    if isinstance(value, (Bound, Class, Function)):
                        entries[key] = value
        return Mapping(tuple(entries.items()), rest=True)

    def _import_flag(self, module: Module, name: str) -> Value | None:
        """A flag or a name that records whether a try could import a kernel package."""
        bindings = module.bindings.get(name, ())
        sides: dict[str, Value] = {}
        package = None
        for binding in bindings:
            for around, part in binding.around:
                if isinstance(around, ast.Try):
                    package = package or self.tried_package(around, module)
                    value = getattr(binding.node, "value", None)
                    at = Line(module.path, getattr(binding.node, "lineno", 1))
                    sides[part] = (
                        Const(value.value, at) if isinstance(value, ast.Constant) else UNKNOWN
                    )
        if package is None or not sides:
            return None
        yes = sides.get("body", sides.get("orelse", UNKNOWN))
        no = sides.get("handler", UNKNOWN)
        truth = installed(package)
        if yes == Const(True) and no in (Const(False), UNKNOWN):
            return Available(package)
        if no == Const(None):
            return choose([(truth.yes, External(f"{package}.{name}")), (truth.no, Const(None))])
        if isinstance(yes, Const) and isinstance(no, Const):
            return choose([(truth.yes, yes), (truth.no, no)])
        return None

    def tried_package(self, node: ast.Try, module: Module) -> str | None:
        """The kernel package that a try statement imports, directly or through the tree."""
        for statement in node.body:
            if isinstance(statement, (ast.Import, ast.ImportFrom)) and imports_kernel(statement):
                if isinstance(statement, ast.ImportFrom):
                    return (statement.module or "").split(".")[0]
                return statement.names[0].name.split(".")[0]
            if isinstance(statement, ast.ImportFrom) and node.handlers:
                source = self.project.imported_from(module, statement)
                if source is not None and any(imports_kernel(s) for s in source.tree.body):
                    return "flash_attn"
        return None
