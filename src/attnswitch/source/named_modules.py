"""Modules imported by a name that is put together: `import_module(f"package.models.{name}")`."""

from __future__ import annotations

import ast
import re

from attnswitch.source.flow.values import HOLE, MOST_MODELS
from attnswitch.source.project import Module, Project, dotted_text


def modules_named(project: Project, folder: str, text: str) -> list[Module]:
    """The modules of one package whose names fit a text with a hole in its last part.

    Empty if the package is not in the tree, if only the hole names it, or if too many fit.
    """
    package, _, last = text.rpartition(".")
    if HOLE in package or HOLE not in last or not package.strip("."):
        return []
    inside = _folder_of(project, folder, package)
    if inside is None:
        return []
    pattern = re.compile(r"\w+".join(re.escape(part) for part in last.split(HOLE)))
    found = [m for m in project.in_folder(inside) if pattern.fullmatch(m.name)]
    found = [m for m in found if not m.is_package]
    return found if len(found) <= MOST_MODELS else []


def modules_imported(project: Project, module: Module, call: ast.Call) -> list[Module]:
    """The modules that `import_module(f"…")` may give; empty for any other call."""
    text = call.args[0] if call.args else None
    if not isinstance(text, ast.JoinedStr) or not dotted_text(call.func).endswith("import_module"):
        return []
    parts = [str(p.value) if isinstance(p, ast.Constant) else HOLE for p in text.values]
    return modules_named(project, module.folder, "".join(parts))


def _folder_of(project: Project, folder: str, package: str) -> str | None:
    """The folder of a package, which may have no `__init__.py`."""
    module = project.find_module(folder, package)
    return module.folder if module is not None and module.is_package else None
