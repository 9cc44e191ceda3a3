"""What a configuration says that a script gives on the command line: `train.py configs/x.py`."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.project import Module, Project

#: A text that may be the name of a class.
_NAMES_A_CLASS = re.compile(r"[A-Z]\w*")


def settings_of(project: Project, module: Module) -> dict[str, object]:
    """Settings, switches and names of classes that a Python configuration holds, at any depth.

    What it holds twice, with other values, is `...`. Configurations that it is based on count
    where it says nothing itself.
    """
    found: dict[str, object] = {}
    todo, seen = [module], {module.path}
    while todo:
        this = todo.pop(0)
        found = {**_own(this), **found}
        for base in _bases(project, this):
            if base.path not in seen:
                seen.add(base.path)
                todo.append(base)
    return found


def _own(module: Module) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in _entries(module.tree):
        if not isinstance(value, ast.Constant):
            continue
        a_class = isinstance(value.value, str) and _NAMES_A_CLASS.fullmatch(value.value)
        if (a_class or words.is_setting(name) or words.is_switch(name)) and (
            found.setdefault(name, value.value) != value.value
        ):
            found[name] = ...
    return found


def _bases(project: Project, module: Module) -> Iterator[Module]:
    """`from base import *`, and `_base_ = ["../base.py"]`."""
    for star in module.stars:
        source = project.imported_from(module, star)
        if source is not None:
            yield source
    for binding in module.bindings.get("_base_", ()):
        for node in ast.walk(binding.node):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                path = posixpath.normpath(posixpath.join(module.folder, node.value))
                if path in project.modules:
                    yield project.modules[path]


def _entries(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
