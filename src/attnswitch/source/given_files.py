"""What files say that a script gives on the command line: `train.py --config configs/x.yaml`."""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.project import Module, Project
from attnswitch.source.tree import SourceFile

#: A text that may be the name of a class.
_NAMES_A_CLASS = re.compile(r"[A-Z]\w*")
#: A line of YAML: how far it stands to the right, the key, and what follows.
_LINE = re.compile(r"^(\s*)[\"']?([A-Za-z_][\w-]*)[\"']?\s*:(?:\s+(.*))?$")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
#: What YAML calls true and false besides.
_BLOCK = re.compile(r"[|>][+-]?\d*[+-]?$")
_NUMBER = re.compile(r"[+-]?\d{1,9}")
_SAID = {"on": True, "off": False, "~": None}
#: Longer files hold data, and no options.
MOST_CHARACTERS = 100_000


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


def options_in(file: SourceFile) -> dict[str, object]:
    """The plain values at the top of a YAML or JSON file, from which parsers take options."""
    found = {name: value for name, value, depth in _pairs(file) if depth == 0}
    return {name: value for name, value in found.items() if value is not ...}


def settings_in(file: SourceFile) -> dict[str, object]:
    """Settings and switches that a YAML or JSON file holds, at any depth.

    What it holds twice, with other values, is `...`.
    """
    found: dict[str, object] = {}
    for name, value, _depth in _pairs(file):
        asks = words.is_setting(name) or words.is_switch(name)
        if asks and found.setdefault(name, value) != value:
            found[name] = ...
    return found


def _pairs(file: SourceFile) -> Iterator[tuple[str, object, int]]:
    """Names with plain values, and how deep each stands; YAML line by line, templates and all.

    A value that is put in later, a reference, a tag or a list is `...`.
    """
    if len(file.text) > MOST_CHARACTERS:
        return
    if file.kind == "json":
        try:
            yield from _nested(json.loads(file.text), 0)
        except (ValueError, RecursionError):
            return
        return
    inside: int | None = None  # how deep a text stands that goes on over lines
    for line in file.text.splitlines():
        match = _LINE.match(_COMMENT.sub("", line).rstrip())
        depth = len(line) - len(line.lstrip())
        if inside is not None and (depth > inside or not line.strip()):
            continue
        inside = None
        if match and match.group(3):
            if _BLOCK.match(match.group(3)):
                inside = depth
            else:
                yield match.group(2).replace("-", "_"), _value(match.group(3)), depth


def _value(text: str) -> object:
    """The value of a text in YAML; `...` where it is not written out."""
    if text.lower() in _SAID:
        return _SAID[text.lower()]
    if text.startswith(("$", "{", "[", "&", "*", "!")) or "{{" in text or "${" in text:
        return ...
    return int(text) if _NUMBER.fullmatch(text) else flag_value(text.strip("\"'"))


def _nested(value: object, depth: int) -> Iterator[tuple[str, object, int]]:
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict):
            yield from _nested(inner, depth + 1)
        elif not isinstance(inner, list):
            whole = inner.encode("utf-8", "replace").decode() if isinstance(inner, str) else inner
            yield name.replace("-", "_"), whole, depth


def flag_value(text: str) -> object:
    """The Python value of a flag's text, as HfArgumentParser and argparse read it."""
    low = text.strip().lower()
    if low in {"true", "yes"}:
        return True
    if low in {"false", "no"}:
        return False
    return None if low in {"none", "null"} else text.strip()
