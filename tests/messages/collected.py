"""Every text of some words in a module, and which of them no test holds.

A text is told by its longest run of words between the places where something is filled in: all but
one of its words in a row, and `ENOUGH` are enough, have to stand in a string of a test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A text has at least so many words; so many in a row tell it from others.
LEAST, ENOUGH = 3, 5
# Calls whose texts are read by programs, not by people.
_PATTERNS = ("compile", "match", "search", "sub", "fullmatch", "LoaderError")


@dataclass(frozen=True)
class Text:
    """A text and where it stands; `run` are the words that a test has to hold."""

    path: str
    line: int
    run: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {' '.join(self.run)}"


def texts_in(path: Path, root: Path) -> Iterator[Text]:
    """The texts of a module, docstrings and patterns left out."""
    tree = ast.parse(path.read_text())
    left_out = {id(node) for node in _docstrings(tree)} | {id(node) for node in _patterns(tree)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
              for part in ast.walk(node) if part is not node}  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in left_out or id(node) in inside:
            continue
        run = max((words(piece) for piece in _pieces(node)), key=len, default=())
        if len(run) >= LEAST:
            yield Text(str(path.relative_to(root)), node.lineno, tuple(run))


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            yield body[0].value


def _patterns(tree: ast.Module) -> Iterator[ast.AST]:
    """The first argument of calls that take a regular expression."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in _PATTERNS:
                yield node.args[0]


def _pieces(node: ast.AST) -> Iterator[str]:
    """What stands between the places where something is filled in, `{…}` of templates included."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from re.split(r"\{[^{}]*\}", node.value)
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.Constant):
                yield part.value


def words(text: str) -> list[str]:
    return text.split()


def strings_in(folder: Path) -> str:
    """All strings of the tests in a folder, their words separated by single spaces."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            found += [" ".join(words(piece)) for piece in _pieces(node)]
    return "\n".join(found)


def is_held(text: Text, tests: str) -> bool:
    """Whether some test's string holds enough of the text's words in a row."""
    size = min(ENOUGH, max(LEAST, len(text.run) - 1))
    parts = [" ".join(text.run[i : i + size]) for i in range(len(text.run) - size + 1)]
    return any(part.strip(" ,;:.()") in tests for part in parts)
