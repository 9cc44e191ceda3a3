"""Where a node stands: its module, its scope and the statements around it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from attnswitch.source import words
from attnswitch.source.project import Module, Project, dotted_text
from attnswitch.source.records import Finding

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BROAD = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "OSError"}
AVAILABLE = re.compile(
    r"available|has_flash|flash_attn_installed|find_spec|have_flash|importable|_installed"
    r"|has_xformers|XFORMERS|flash_attn_version",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Place:
    """The way from the module down to a node (`parents` ends with the direct parent)."""

    project: Project
    module: Module
    scope: str = ""
    parents: tuple[ast.AST, ...] = ()

    def enter(self, node: ast.AST) -> Place:
        """The place of the children of `node`."""
        scope = self.scope
        if isinstance(node, _SCOPES):
            scope = f"{scope}.{node.name}" if scope else node.name
        return Place(self.project, self.module, scope, (*self.parents, node))

    @property
    def function(self) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The innermost function around the node."""
        for parent in reversed(self.parents):
            if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return parent
        return None

    @property
    def klass(self) -> ast.ClassDef | None:
        """The innermost class around the node."""
        for parent in reversed(self.parents):
            if isinstance(parent, ast.ClassDef):
                return parent
        return None

    @property
    def constructor_of(self) -> ast.ClassDef | None:
        """The class whose `__init__` the node is in."""
        function = self.function
        return self.klass if function is not None and function.name == "__init__" else None

    def tries(self, node: ast.AST) -> list[ast.Try]:
        """Try statements of this scope that have the node in their body, innermost first."""
        found: list[ast.Try] = []
        chain = [*self.parents, node]
        for index in range(len(chain) - 2, -1, -1):
            parent, child = chain[index], chain[index + 1]
            if isinstance(parent, _SCOPES):
                break
            if isinstance(parent, ast.Try) and any(child is s for s in parent.body):
                found.append(parent)
        return found

    def tests(self, node: ast.AST) -> list[tuple[ast.expr, bool]]:
        """Tests of the if statements and expressions around the node, with the side taken."""
        found: list[tuple[ast.expr, bool]] = []
        chain = [*self.parents, node]
        for index in range(len(chain) - 2, -1, -1):
            parent, child = chain[index], chain[index + 1]
            if isinstance(parent, _SCOPES):
                break
            if isinstance(parent, ast.If) and child is not parent.test:
                found.append((parent.test, any(child is s for s in parent.body)))
            if isinstance(parent, ast.IfExp) and child is not parent.test:
                found.append((parent.test, child is parent.body))
        return found

    def finding(self, node: ast.AST, mechanism: str, effect: str, message: str, **more) -> Finding:
        """A finding at a node of this module."""
        line = getattr(node, "lineno", 1)
        return Finding(self.module.path, line, mechanism, message, effect, node=node, **more)


def catches_import_errors(node: ast.Try) -> bool:
    """True if a handler swallows a failed import, instead of raising or importing again."""
    for handler in node.handlers:
        names = {dotted_text(n).split(".")[-1] for n in _handler_types(handler)}
        if handler.type is not None and not names & _BROAD:
            continue
        return not any(isinstance(s, ast.Raise) for s in handler.body) and not any(
            imports_kernel(s) for s in handler.body
        )
    return False


def _handler_types(handler: ast.ExceptHandler) -> list[ast.expr]:
    if handler.type is None:
        return []
    return handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]


def imports_kernel(node: ast.AST) -> bool:
    """True if a statement imports flash_attn or xformers (or their kin)."""
    if isinstance(node, ast.Import):
        return any(words.package_target(a.name) for a in node.names)
    if isinstance(node, ast.ImportFrom):
        return not node.level and words.package_target(node.module or "") is not None
    return False


def availability_test(test: ast.expr) -> bool:
    """True if a test asks whether a package is there."""
    return bool(AVAILABLE.search(ast.unparse(test)))


def constant(node: ast.AST | None) -> object:
    """The value of a constant expression, or `Ellipsis` if it is none."""
    if isinstance(node, ast.Constant) and node.value is not Ellipsis:
        return node.value
    return ...


def short(node: ast.AST, limit: int = 60) -> str:
    """An expression as text, cut to `limit` characters."""
    text = ast.unparse(node)
    return text if len(text) <= limit else text[: limit - 1] + "…"
