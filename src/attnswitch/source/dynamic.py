"""What a tree puts together at run time: folders imported whole, and registries."""

from __future__ import annotations

import ast
import re

from attnswitch.source.project import Module, Project, dotted_text

_DYNAMIC = re.compile(r"import_modules|iter_modules|listdir|glob\(|import_module|walk_packages")


def dynamic_imports(project: Project, module: Module) -> list[Module]:
    """The modules beside a package that it imports by listing its own folder."""
    found = project.imported_by_text(module)
    if module.is_package and _DYNAMIC.search(module.text):
        found = [*found, *(m for m in project.in_folder(module.folder) if m not in found)]
    return [other for other in found if other is not module]


def registers(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True for definitions that a decorator hands to a registry."""
    return any("regist" in dotted_text(d).lower() for d in node.decorator_list)
