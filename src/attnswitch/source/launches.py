"""Reads shell scripts for the Python programs they start and the flags they pass."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator

from attnswitch.source.entries import Launch
from attnswitch.source.project import Module, Project
from attnswitch.source.tree import SourceFile

_LAUNCHER = re.compile(
    r"(?:^|[\s;&|(])(?:python[\d.]*|torchrun|deepspeed|accelerate|srun|colossalai|\S+/python[\d.]*"
    r"|\$\{?PYTHON\w*\}?)\s"
)
_ASSIGN = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)=(.*)$")
_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (first line number, text) with continued lines joined and comments left out."""
    start = 0
    parts: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.rstrip()
        if stripped.lstrip().startswith("#"):
            if parts:
                continue
            yield number, ""
            continue
        if not parts:
            start = number
        if stripped.endswith("\\"):
            parts.append(stripped[:-1])
            continue
        parts.append(stripped)
        yield start, " ".join(parts)
        parts = []
    if parts:
        yield start, " ".join(parts)


def words_of(line: str) -> list[str]:
    """Split a shell line into words; a line that shlex refuses is split at blanks."""
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def substitute(text: str, variables: dict[str, str]) -> str:
    """Put in variables that the script itself sets, and defaults of `${x:-default}`."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(3)
        return variables.get(name, match.group(2) or match.group(0))

    return _VARIABLE.sub(value, text)


def find_launches(project: Project, file: SourceFile) -> list[Launch]:
    """Every launch of a Python file of the tree in one shell script."""
    found: list[Launch] = []
    variables: dict[str, str] = {}
    for number, line in logical_lines(file.text):
        assigned = _ASSIGN.match(line)
        if assigned and " " not in assigned.group(2).strip().strip("\"'"):
            variables[assigned.group(1)] = substitute(assigned.group(2).strip("\"' "), variables)
            continue
        if not _LAUNCHER.search(" " + line):
            continue
        for piece in re.split(r"\s*(?:&&|\|\||;|\|)\s*", line):
            launch = _one(project, file, number, substitute(piece, variables), variables)
            if launch:
                found.append(launch)
    return found


def _one(
    project: Project, file: SourceFile, number: int, line: str, variables: dict[str, str]
) -> Launch | None:
    tokens = words_of(line)
    environment = dict(variables)
    while tokens and re.match(r"^[A-Za-z_]\w*=", tokens[0]):
        name, _, value = tokens.pop(0).partition("=")
        environment[name] = value
    module, rest = _target(project, file, tokens)
    if module is None:
        return None
    return Launch(file.path, number, module, flags_of(rest), environment)


def _target(
    project: Project, file: SourceFile, tokens: list[str]
) -> tuple[Module | None, list[str]]:
    launcher = any(
        re.search(r"(?:^|/)(?:python[\d.]*|torchrun|deepspeed|accelerate|colossalai)$", t)
        or t.lower().startswith("$python")
        for t in tokens
    )
    if not launcher:
        return None, []
    for index, token in enumerate(tokens):
        if token in {"-m", "--module"} and index + 1 < len(tokens):
            name = tokens[index + 1]
            if name.startswith(("torch.", "accelerate", "deepspeed")):
                continue
            module = project.find_module(posixpath.dirname(file.path), name)
            if module is not None and module.is_package:
                module = project.module_at(posixpath.join(module.folder, "__main__")) or module
            return module, tokens[index + 2 :]
        if token.endswith(".py"):
            return _file(project, file, token), tokens[index + 1 :]
    return None, []


def _file(project: Project, file: SourceFile, token: str) -> Module | None:
    clean = re.sub(r"^(?:\$\{?\w+\}?/)+", "", token)
    clean = posixpath.normpath(clean)
    while clean.startswith("../"):
        clean = clean[3:]
    folder = posixpath.dirname(file.path)
    while True:
        module = project.modules.get(posixpath.join(folder, clean))
        if module or not folder:
            break
        folder = posixpath.dirname(folder)
    if module:
        return module
    matches = [m for path, m in project.modules.items() if path.endswith("/" + clean)]
    matches = matches or (
        [m for path, m in project.modules.items() if clean.endswith("/" + path)]
        if clean.startswith("/")
        else []
    )
    shared = [(-len(posixpath.commonprefix([m.path, file.path])), m.path, m) for m in matches]
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


def flag_value(text: str) -> object:
    """The Python value of a flag's text, as HfArgumentParser and argparse read it."""
    low = text.strip().lower()
    if low in {"true", "yes"}:
        return True
    if low in {"false", "no"}:
        return False
    return None if low in {"none", "null"} else text.strip()
