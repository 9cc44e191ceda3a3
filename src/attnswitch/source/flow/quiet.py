"""Imports without effect: modules whose top, and whatever it imports, changes nothing followed.

Most modules only define things. Running the top of each of them again for every program of a
tree would take most of the time of a scan.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Iterable

from attnswitch.source import words
from attnswitch.source.dynamic import dynamic_imports, registers
from attnswitch.source.flow.commands import STARTS
from attnswitch.source.mechanisms.patches import replaces_attention
from attnswitch.source.mechanisms.place import imports_kernel
from attnswitch.source.project import Module, Project, Symbol, dotted_text
from attnswitch.source.walking import nested_blocks

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
#: Functions whose call at the top of a module matters, by the last part of the name.
_TELLING = re.compile(
    r"from_pretrained$|from_config$|^setattr$|^import_module$|fromfile$|set_attn_implementation$"
    r"|^parse_|^main$|Fire$",
    re.IGNORECASE,
)
_REGISTERS_A_MODEL = re.compile(r"Auto\w*Model\w*\.register$")


class Quiet:
    """Which modules can be imported without running them, and what that would import."""

    def __init__(self, project: Project, interesting: Callable[[Symbol], bool]):
        self.project = project
        self.interesting = interesting
        self._imports = {m.path: self._loaded(m) for m in project.modules.values()}
        self._loud = self._spread(m.path for m in project.modules.values() if self._acts(m))
        self._closures: dict[str, frozenset[str]] = {}

    def __contains__(self, module: Module) -> bool:
        return module.path not in self._loud

    def packages(self, module: Module) -> list[Module]:
        """The packages around a module, outermost first: importing it runs them before."""
        found: list[Module] = []
        folder = posixpath.dirname(module.folder) if module.is_package else module.folder
        while folder:
            package = self.project.modules.get(posixpath.join(folder, "__init__.py"))
            if package is None:
                break
            found.insert(0, package)
            folder = posixpath.dirname(folder)
        return found

    def closure(self, module: Module) -> frozenset[str]:
        """The paths of everything that importing a module imports, itself included."""
        found = self._closures.get(module.path)
        if found is None:
            reached, todo = {module.path}, [module.path]
            while todo:
                for other in self._imports[todo.pop()]:
                    if other not in reached:
                        reached.add(other)
                        todo.append(other)
            found = self._closures[module.path] = frozenset(reached)
        return found

    def _spread(self, acting: Iterable[str]) -> set[str]:
        """Modules that act, and those that import one that does."""
        importers: dict[str, list[str]] = {}
        for path, imported in self._imports.items():
            for other in imported:
                importers.setdefault(other, []).append(path)
        loud = set(acting)
        todo = list(loud)
        while todo:
            for path in importers.get(todo.pop(), ()):
                if path not in loud:
                    loud.add(path)
                    todo.append(path)
        return loud

    def _loaded(self, module: Module) -> set[str]:
        found = {m.path for m in dynamic_imports(self.project, module)}
        for statement in _top(module.tree.body):
            if not isinstance(statement, (ast.Import, ast.ImportFrom)):
                continue
            for other in self.project.loaded_by(module, statement):
                found.add(other.path)
                found.update(p.path for p in self.packages(other))
        return found

    def _acts(self, module: Module) -> bool:
        return any(self._matters(module, s) for s in _top(module.tree.body))

    def _matters(self, module: Module, node: ast.stmt) -> bool:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return imports_kernel(node)
        if isinstance(node, _DEFINITIONS):
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            symbol = Symbol(kind, node.name, module, node)
            return (
                bool(node.decorator_list)
                and self.interesting(symbol)
                and registers(self.project, module, node)
            )
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and (
                    words.is_setting(target.attr)
                    or words.is_switch(target.attr)
                    or replaces_attention(target, node.value)
                ):
                    return True
                if isinstance(target, ast.Subscript) and self._is_telling_entry(target):
                    return True
        return any(self._telling(module, call) for call in self.project.mentions(node).calls)

    def _is_telling_entry(self, target: ast.Subscript) -> bool:
        """True for `os.environ[…] = …`, and for an entry named after a setting."""
        key = target.slice.value if isinstance(target.slice, ast.Constant) else ""
        named = isinstance(key, str) and (words.is_setting(key) or words.is_switch(key))
        return named or dotted_text(target.value).endswith("environ")

    def _telling(self, module: Module, call: ast.Call) -> bool:
        name = dotted_text(call.func)
        last = name.split(".")[-1]
        if _TELLING.search(last) or STARTS.search(name) or words.kernel_called(name):
            return True
        if _REGISTERS_A_MODEL.search(name):
            return True
        symbol = self.project.resolve_dotted(module, call.func)
        return (
            symbol is not None and symbol.kind in {"function", "class"} and self.interesting(symbol)
        )


def _top(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that importing a module runs, those inside others included."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if not isinstance(node, _DEFINITIONS):
            for _, inner in nested_blocks(node):
                found.extend(_top(inner))
    return found
