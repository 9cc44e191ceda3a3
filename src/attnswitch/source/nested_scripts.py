"""Shell scripts that start other shell scripts of the tree: `bash eval/mme.sh $CKPT`."""

from __future__ import annotations

import re
from dataclasses import replace

from attnswitch.source.programs import Launch
from attnswitch.source.shell_text import SHELLS, commands, named_path, places_of, words_of
from attnswitch.source.tree import SourceFile

_CALLS = re.compile(r"\.sh\b")
_SHELLS = SHELLS | {"source", ".", "sbatch", "nohup", "exec"}
#: An assignment before the command, and the start of `$(dirname $0)/other.sh`.
_NO_COMMAND = re.compile(r"[A-Za-z_]\w*=|\$\(")


def through_scripts(files: list[SourceFile], launches: list[Launch]) -> list[Launch]:
    """What scripts start by way of other scripts, as launches of the outer ones."""
    scripts = {f.path: f for f in files if f.kind == "shell"}
    inner: dict[str, list[Launch]] = {}
    for launch in launches:
        inner.setdefault(launch.path, []).append(launch)
    calls = {path: _called(file, scripts) for path, file in scripts.items()}
    found: list[Launch] = []
    for path in calls:
        for line, script in _reached(path, calls):
            found += [replace(x, path=path, line=line) for x in inner.get(script, ())]
    return found


def _reached(start: str, calls: dict[str, list[tuple[int, str]]]) -> list[tuple[int, str]]:
    """The scripts below one, each with the line of `start` that leads there."""
    found: dict[str, int] = {}
    todo = list(reversed(calls[start]))
    while todo:
        line, script = todo.pop()
        if script != start and script not in found:
            found[script] = line
            todo += [(line, further) for _, further in reversed(calls[script])]
    return [(line, script) for script, line in found.items()]


def _called(file: SourceFile, scripts: dict[str, SourceFile]) -> list[tuple[int, str]]:
    if not _CALLS.search(file.text):
        return []
    found = []
    for command in commands(file.text):
        if ".sh" in command.text:
            script = _script(words_of(command.text), file.path, scripts)
            if script is not None:
                found.append((command.line, script))
    return found


def _script(tokens: list[str], path: str, scripts: dict[str, SourceFile]) -> str | None:
    """The script of the tree that a command runs: its first word, or the one after a shell."""
    for index, token in enumerate(tokens):
        if token.endswith(".sh"):
            before = [t for t in tokens[:index] if not _NO_COMMAND.match(t)]
            while before and before[-1].startswith("-"):
                before.pop()
            named = not before or before[-1] in _SHELLS
            return _found(token, path, scripts) if named else None
    return None


def _found(token: str, path: str, scripts: dict[str, SourceFile]) -> str | None:
    return next((p for p in places_of(named_path(token), path) if p in scripts), None)
