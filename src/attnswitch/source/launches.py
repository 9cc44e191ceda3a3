"""Finds the Python programs that shell scripts and other programs start, and their flags."""

from __future__ import annotations

import ast
import posixpath
import re

from attnswitch.source.configurations import is_configuration
from attnswitch.source.given_files import flag_value, options_in, settings_in, settings_of
from attnswitch.source.programs import Launch
from attnswitch.source.project import Module, Project, dotted_text
from attnswitch.source.shell_text import (
    SETS,
    STARTS_PYTHON,
    commands,
    named_path,
    places_of,
    started_by,
    started_in,
    words_of,
)
from attnswitch.source.tree import SourceFile

#: What names a program as Python names modules.
_BY_MODULE = ("-m", "--module")


def find_launches(project: Project, file: SourceFile) -> list[Launch]:
    """Every launch of a Python file of the tree in one shell script."""
    found: list[Launch] = []
    for command in commands(file.text):
        if not STARTS_PYTHON.search(command.text):
            continue
        for words in started_by(words_of(command.text)):
            launch = launch_of(project, file.path, command.line, words, command.variables)
            if launch:
                found.append(launch)
            if launch and launch.as_module:
                project.started_as_modules.add(launch.program.path)
    return found


def started_in_notebooks(project: Project) -> set[str]:
    """The programs of the tree that cells of notebooks start, by their paths."""
    found = set()
    for module in [m for m in project.modules.values() if m.is_notebook]:
        for call in project.mentions(module.tree).calls:
            if dotted_text(call.func) != "get_ipython.system":
                continue
            for words in started_in(_text(call.args[0]) if call.args else ""):
                launch = launch_of(project, module.path, call.lineno, words, {})
                found |= {launch.program.path} if launch else set()
    return found


def _text(node: ast.expr) -> str:
    """A text that is written out, with `{}` for each value that is put in; empty for all else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            _text(part) if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def launch_of(
    project: Project, path: str, line: int, words: list[str], variables: dict[str, str]
) -> Launch | None:
    """The program of the tree that a command in the file `path` starts, None if it is none."""
    environment = dict(variables)
    tokens = list(words)
    if tokens and tokens[0] == "eval":
        tokens = [part for token in tokens[1:] for part in words_of(token)]
    while tokens and SETS.match(tokens[0]):
        name, _, value = tokens.pop(0).partition("=")
        environment[name] = value
    module, rest = _target(project, path, tokens)
    if module is None:
        return None
    given = _data_files(project, path, rest)
    settings = _settings(project, path, rest, given)
    found = Launch(path, line, module, flags_of(rest), environment, settings)
    for file in reversed(given):  # what is typed goes before, and then the last file
        for option, told in options_in(file).items():
            if option not in found.flags:
                found.flags[option], found.told[option] = told, file.path
    named = len(tokens) - len(rest) - 2
    found.as_module = named >= 0 and tokens[named] in _BY_MODULE
    return found


def _settings(
    project: Project, path: str, tokens: list[str], given: list[SourceFile]
) -> dict[str, object] | None:
    """What the configurations among the arguments hold, None if there are none."""
    for token in tokens:
        module = _file(project, path, token.rpartition("=")[2]) if token.endswith(".py") else None
        if module is not None and is_configuration(module):
            return settings_of(project, module)
    found: dict[str, object] = {}
    for file in given:
        found.update(settings_in(file))
    typed = _typed_settings(tokens) if found else {}
    return {**found, **typed} or None


def _typed_settings(tokens: list[str]) -> dict[str, object]:
    """What is typed beside a file: `model.use_flash_attn=false`, `--use_flash_attn false`."""
    found: dict[str, object] = {}
    for token in tokens:
        name, equals, value = token.lstrip("-+~").partition("=")
        if equals:
            found[name.split(".")[-1].replace("-", "_")] = flag_value(value)
    found.update({name.split(".")[-1]: value for name, value in flags_of(tokens).items()})
    return {n: ... if isinstance(v, str) and "$" in v else v for n, v in found.items()}


def _data_files(project: Project, path: str, tokens: list[str]) -> list[SourceFile]:
    """The YAML and JSON files of the tree among the arguments; deepspeed's say nothing here."""
    found = []
    for before, token in zip(["", *tokens], tokens, strict=False):
        named = token.rpartition("=")[2]
        deepspeed = "deepspeed" in before or "deepspeed" in token.partition("=")[0].split("/")[-1]
        if named.endswith((".yaml", ".yml", ".json")) and not deepspeed:
            places = places_of(named_path(named), path)
            found += [project.data[p] for p in places if p in project.data][:1]
    return found


def _target(project: Project, path: str, tokens: list[str]) -> tuple[Module | None, list[str]]:
    launcher = any(
        re.search(r"(?:^|/)(?:python[\d.]*|torchrun|deepspeed|accelerate|colossalai)(?:\.sh)?$", t)
        or t.lower().startswith("$python")
        for t in tokens
    )
    if not launcher:
        return None, []
    for index, token in enumerate(tokens):
        if token in _BY_MODULE and index + 1 < len(tokens):
            name = tokens[index + 1]
            if name.startswith(("torch.", "accelerate", "deepspeed")):
                continue
            module = project.find_module(posixpath.dirname(path), name)
            if module is not None and module.is_package:
                module = project.module_at(posixpath.join(module.folder, "__main__")) or module
            return module, tokens[index + 2 :]
        if token.endswith(".py"):
            return _file(project, path, token), tokens[index + 1 :]
    return None, []


def _file(project: Project, path: str, token: str) -> Module | None:
    clean = named_path(token)
    for place in places_of(clean, path):
        if place in project.modules:
            return project.modules[place]
    modules = project.modules.items()
    matches = [m for other, m in modules if other.endswith("/" + clean)]
    if not matches and clean.startswith("/"):
        matches = [m for o, m in modules if clean.endswith("/" + o) or ("/" + o).endswith(clean)]
    elif not matches:  # `path/to/project/train/train.py`: the reader's own folders come first
        matches = [m for o, m in modules if "/" in o and clean.endswith("/" + o)]
    shared = [(-len(posixpath.commonprefix([m.path, path])), m.path, m) for m in matches]
    return min(shared, key=lambda s: s[:2])[2] if shared else None


def flags_of(tokens: list[str]) -> dict[str, object]:
    """`--use-flash-attn --x y --z=1` -> {"use_flash_attn": True, "x": "y", "z": "1"}."""
    flags: dict[str, object] = {}
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        if not token.startswith("--") or len(token) < 3:
            continue
        name, equals, value = token[2:].partition("=")
        if (
            not equals
            and index < len(tokens)
            and not tokens[index].startswith("--")
            and tokens[index] not in {"&", ">", "2>&1"}
        ):
            value, equals = tokens[index], "="
            index += 1
        flags[name.replace("-", "_")] = flag_value(value) if equals else True
    return flags
