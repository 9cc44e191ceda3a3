"""Which code is used: followed by name from every program, as far as names go."""

from __future__ import annotations

import ast
import posixpath
import re
from dataclasses import dataclass

from attnswitch.source.dynamic import dynamic_imports, registers
from attnswitch.source.named_modules import modules_imported
from attnswitch.source.project import Module, Project, Symbol

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Scope:
    """A module's top ("" as name), a function, or a class with all its methods."""

    path: str
    name: str


class Reach:
    """The scopes that a set of programs leads to."""

    def __init__(self, project: Project, roots: list[Module], names: dict[str, set[str]]):
        self.project = project
        self.reached: dict[Scope, Scope | None] = {}
        self._todo: list[Scope] = []
        self._local: dict[int, dict[str, Symbol | None]] = {}
        for module in roots:
            self._enter_module(module, None)
            for name in names.get(module.path, ()):
                self._add(Scope(module.path, name), None)
        while self._todo:
            self._follow(self._todo.pop())

    def __contains__(self, scope: Scope) -> bool:
        return scope in self.reached

    def origin(self, scope: Scope) -> str | None:
        """The program that leads to a scope."""
        seen: set[Scope] = set()
        while scope in self.reached and scope not in seen:
            seen.add(scope)
            previous = self.reached[scope]
            if previous is None:
                return scope.path
            scope = previous
        return None

    def _add(self, scope: Scope, by: Scope | None) -> None:
        if scope not in self.reached:
            self.reached[scope] = by
            self._todo.append(scope)

    def _enter_module(self, module: Module, by: Scope | None) -> None:
        self._add(Scope(module.path, ""), by)
        folder = module.folder
        while True:  # importing a.b.c runs a/__init__.py and a/b/__init__.py
            package = self.project.modules.get(posixpath.join(folder, "__init__.py"))
            if package is None or not folder:
                break
            self._add(Scope(package.path, ""), by)
            folder = posixpath.dirname(folder)

    def _follow(self, scope: Scope) -> None:
        module = self.project.modules.get(scope.path)
        if module is None:
            return
        if scope.name == "":
            self._module_top(module, scope)
            return
        for node in _definitions(module.tree.body):
            if node.name == scope.name:
                self._body(module, node, scope)

    def _module_top(self, module: Module, scope: Scope) -> None:
        for other in dynamic_imports(self.project, module):
            self._add(Scope(other.path, ""), scope)
        for node in _top(module.tree.body):
            if isinstance(node, _DEFINITIONS):
                if node.decorator_list and (
                    _registers(node) or registers(self.project, module, node)
                ):
                    self._add(Scope(module.path, node.name), scope)
                for part in node.decorator_list:
                    self._body(module, part, scope)
            else:
                self._body(module, node, scope)

    def _body(self, module: Module, node: ast.AST, scope: Scope) -> None:
        local = self._local_imports(module, node)
        mentioned = self.project.mentions(node)
        for statement in mentioned.imports:
            self._import(module, statement, scope)
        for name in {n.id for n in mentioned.names}:
            self._use(local.get(name) or self.project.resolve(module, name), scope)
        for attribute in mentioned.attributes:
            self._use(self._attribute(module, attribute, local), scope)
        for call in mentioned.calls:
            for other in modules_imported(self.project, module, call):
                self._enter_module(other, scope)
                for name in {a.attr for a in mentioned.attributes} & other.bindings.keys():
                    self._add(Scope(other.path, name), scope)

    def _attribute(
        self, module: Module, node: ast.Attribute, local: dict[str, Symbol | None]
    ) -> Symbol | None:
        base = node.value
        if isinstance(base, ast.Name) and local.get(base.id):
            symbol = local[base.id]
            if symbol and symbol.kind == "module" and symbol.module:
                return self.project.attribute(symbol.module, node.attr)
            return None
        return self.project.resolve_dotted(module, node)

    def _local_imports(self, module: Module, node: ast.AST) -> dict[str, Symbol | None]:
        if not isinstance(node, _DEFINITIONS):
            return {}
        found: dict[str, Symbol | None] = {}
        for inner in self.project.mentions(node).imports:
            for alias in inner.names:
                name = alias.asname or alias.name.split(".")[0]
                found[name] = self.project.import_symbol(module, inner, alias)
        return found

    def _import(self, module: Module, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        if isinstance(node, ast.ImportFrom):
            source = self.project.imported_from(module, node)
            if source is not None:
                self._enter_module(source, scope)
        for alias in node.names:
            if isinstance(node, ast.Import):
                source = self.project.find_module(module.folder, alias.name)
                if source is not None:
                    self._enter_module(source, scope)
            elif alias.name != "*":
                symbol = self.project.import_symbol(module, node, alias)
                if symbol is not None and symbol.kind == "module" and symbol.module:
                    self._enter_module(symbol.module, scope)

    def _use(self, symbol: Symbol | None, scope: Scope) -> None:
        if symbol is None or symbol.module is None:
            return
        if symbol.kind == "module":
            self._enter_module(symbol.module, scope)
        elif symbol.kind in {"function", "class"}:
            name = symbol.dotted.split(".")[0]
            self._add(Scope(symbol.module.path, name), scope)
        else:
            self._add(Scope(symbol.module.path, ""), scope)


def _top(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements at the top, with compound ones opened where they hold definitions."""
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):
            if isinstance(node, ast.If):
                found.append(ast.Expr(node.test))
            for part in ("body", "orelse", "finalbody"):
                found.extend(_top(getattr(node, part, [])))
            for handler in getattr(node, "handlers", []):
                found.extend(_top(handler.body))
        else:
            found.append(node)
    return found


def _definitions(body: list[ast.stmt]) -> list[Definition]:
    return [n for n in _top(body) if isinstance(n, _DEFINITIONS)]


def _registers(node: Definition) -> bool:
    """True for definitions that a decorator hands to somebody else."""
    text = " ".join(ast.unparse(d) for d in node.decorator_list)
    return bool(re.search(r"regist|route|app\.|\.get\(|\.post\(|command|cli|hydra", text))
