"""What a tree puts together at run time: folders imported whole, and registries."""

from __future__ import annotations

import ast
import re

from attnswitch.source.project import Module, Project, dotted_text

_DYNAMIC = re.compile(
    r"import_modules|iter_modules|listdir|glob\(|import_module|walk_packages|exec\(f?[\"']from \."
)


def dynamic_imports(project: Project, module: Module) -> list[Module]:
    """The modules beside a package that it imports by listing its own folder."""
    if not module.is_package or not _DYNAMIC.search(module.text):
        return []
    return [
        other
        for other in project.modules.values()
        if other.folder == module.folder and other is not module
    ]


def registers(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True for definitions that a decorator hands to a registry."""
    return any("regist" in dotted_text(d).lower() for d in node.decorator_list)
