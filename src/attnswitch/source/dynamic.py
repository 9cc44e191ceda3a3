"""What a tree puts together at run time: folders imported whole, and registries."""

from __future__ import annotations

import ast
import re

from attnswitch.source.project import Module, Project, dotted_text

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_DYNAMIC = re.compile(r"import_modules|iter_modules|listdir|glob\(|import_module|walk_packages")


def dynamic_imports(project: Project, module: Module) -> list[Module]:
    """The modules beside a package that it imports by listing its own folder."""
    found = project.imported_by_text(module)
    if module.is_package and _DYNAMIC.search(module.text):
        found = [*found, *(m for m in project.in_folder(module.folder) if m not in found)]
    return [other for other in found if other is not module]


def registers(project: Project, module: Module, node: Definition) -> bool:
    """True for definitions that a decorator hands to a registry, or puts into a dictionary."""
    return any(
        "regist" in dotted_text(d).lower() or _fills_a_table(project, module, d)
        for d in node.decorator_list
    )


def _fills_a_table(project: Project, module: Module, decorator: ast.expr) -> bool:
    """True for a function of the tree with `TABLE[name] = f`, of what it is handed."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    symbol = project.resolve_dotted(module, called)
    if symbol is None or not isinstance(symbol.node, ast.FunctionDef):
        return False
    handed = {a.arg for a in ast.walk(symbol.node) if isinstance(a, ast.arg)}
    return any(
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in handed
        for node in ast.walk(symbol.node)
    )
