"""Shell scripts as text: statements over several lines, variables, arrays, words."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

_ASSIGN = re.compile(
    r"^\s*(?:export\s+|local\s+|readonly\s+|declare\s+(?:-\w+\s+)?)?([A-Za-z_]\w*)(\+?)=(.*)$",
    re.DOTALL,
)
_VARIABLE = re.compile(r"\$\{(\w+)(?:\[[@*]\])?(?::?[-=]([^{}]*))?\}|\$(\w+)")
_QUOTED_ARRAY = re.compile(r"\"(\$\{\w+\[[@*]\]\})\"")
_PIECE = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|([^\s\"']+)", re.DOTALL)
_READ = re.compile(r"^\s*read\s(?:[^<]*\s)?(\w+)\s*<<-?\s*['\"]?(\w+)['\"]?\s*$")
#: What stays together, and what ends a command.
_TOGETHER_OR_END = re.compile(
    r"\\.|\"(?:[^\"\\]|\\.)*\"|'[^']*'|\$\([^()]*\)|(?P<end>\s*(?:&&|\|\||;|\|)\s*)", re.DOTALL
)
#: A word that starts Python programs.
STARTS_PYTHON = re.compile(
    r"(?:^|[\s;&|(\"'=])(?:python[\d.]*|torchrun|deepspeed|accelerate|srun|colossalai"
    r"|\S+/python[\d.]*|\$\{?PYTHON\w*\}?)\s"
)
#: An assignment before a command.
SETS = re.compile(r"[A-Za-z_]\w*=")
_PRINTS = frozenset({"echo", "printf"})
_PRINTED = re.compile(r"\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`")
#: Programs that run a script.
SHELLS = frozenset({"bash", "sh", "zsh", "dash"})
#: A quote or an array that is not closed within so many lines is a mistake of this reader.
_MOST_LINES = 300


@dataclass(frozen=True)
class Command:
    """A command of a script, its variables put in, and the variables set until then."""

    line: int
    text: str
    variables: dict[str, str]


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield (first line number, text): lines that are continued, or open, in one; no comments."""
    start = 0
    parts: list[str] = []
    for number, line in _documents_read(text.splitlines()):
        stripped = line.rstrip()
        if stripped.lstrip().startswith("#"):
            if not parts:
                yield number, ""
            continue
        if not parts:
            start = number
        if stripped.endswith("\\"):
            parts.append(stripped[:-1])
            continue
        parts.append(stripped)
        if len(parts) < _MOST_LINES and _is_open(" ".join(parts)):
            continue
        yield start, " ".join(parts)
        parts = []
    if parts:
        yield start, " ".join(parts)


def _documents_read(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Number lines; `read -d "" x <<EOF` and what follows becomes one line, `x="…"`."""
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        begun = _READ.match(line)
        if begun is None:
            yield number, line
            continue
        name, end = begun.groups()
        inside: list[str] = []
        for _, inner in numbered:
            if inner.strip() == end:
                break
            inside.append(inner.strip().removesuffix("\\").replace('"', "'"))
        yield number, f'{name}="{" ".join(inside)}"'


def _is_open(text: str) -> bool:
    """True for an assignment whose array or quoted text goes on in the next line."""
    assigned = _ASSIGN.match(text)
    if assigned is None:
        return False
    value = assigned.group(3).lstrip()
    if value.startswith("(") and not value.startswith("(("):
        bare = re.sub(r"\"[^\"]*\"|'[^']*'", "", value)
        return bare.count(")") - bare.count("$(") < 1
    return value.startswith(('"', "'")) and value.count(value[0]) % 2 == 1


def commands(text: str) -> Iterator[Command]:
    """Yield the commands of a script; assignments are remembered, not yielded."""
    variables: dict[str, str] = {}
    for number, line in statements(text):
        if _set(line, variables):
            continue
        for piece in _pieces(line):
            if piece.strip() and not _set(piece, variables):
                yield Command(number, substitute(piece, variables), dict(variables))


def _set(text: str, variables: dict[str, str]) -> bool:
    """Remember what an assignment sets; False if the text is none."""
    assigned = _ASSIGN.match(text)
    value = _assigned_text(assigned.group(3).strip()) if assigned else None
    if assigned is None or value is None:
        return False
    name, more = assigned.group(1), assigned.group(2)
    if "$(" in value or "`" in value:
        variables.pop(name, None)  # what a command prints
    else:
        value = substitute(value, variables)
        variables[name] = f"{variables.get(name, '')} {value}" if more else value
    return True


def _pieces(line: str) -> list[str]:
    """The commands of a line, apart; what is quoted, or in `$(…)`, stays together."""
    pieces, start = [], 0
    for match in _TOGETHER_OR_END.finditer(line):
        if match.lastgroup == "end":
            pieces.append(line[start : match.start()])
            start = match.end()
    return [*pieces, line[start:]]


def started_in(text: str) -> Iterator[list[str]]:
    """The words of each command in a script, after the variables that are set until then."""
    for command in commands(text):
        around = [f"{name}={value}" for name, value in command.variables.items()]
        for words in started_by(words_of(command.text)):
            yield [*around, *words]


def started_by(words: list[str]) -> Iterator[list[str]]:
    """A command, after those in the texts that it hands on to be run elsewhere.

    `bash -c "…"`, `ssh host "…"`, `--wrap="…"`, `eval "…"`: a text among the words which starts
    Python is such a command; the variables that are set around it go before it.
    """
    if words and words[0] in _PRINTS:
        return
    set_here = list(takewhile(SETS.match, words))
    rest = words[len(set_here) :]
    inner = [w for w in rest if any(map(str.isspace, w)) and STARTS_PYTHON.search(w)]
    for text in inner:
        for found in started_in(text):
            yield [*set_here, *found]
    if not (inner and words[0] == "eval"):
        yield words


def _assigned_text(value: str) -> str | None:
    """The text of a value; None if the line goes on with a command (`A=1 python x.py`)."""
    if value.startswith("("):
        return value[1:].rpartition(")")[0].strip()
    if value.startswith(('"', "'")):  # also `"--format "x" --more"`: quoted, bare, quoted
        pieces = list(_PIECE.finditer(value))
        if "".join(p.group(0) for p in pieces) == value:
            return "".join(p.group(1) or p.group(2) or p.group(3) or "" for p in pieces)
    bare = re.sub(r"\s+#.*$", "", value)
    return None if re.search(r"\s", _PRINTED.sub("", bare)) else bare.strip("\"'")


def substitute(text: str, variables: dict[str, str]) -> str:
    """Put in variables that the script itself sets, and defaults of `${x:-default}`."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(3)
        return variables.get(name, match.group(2) or match.group(0))

    return _VARIABLE.sub(value, _QUOTED_ARRAY.sub(r"\1", text))


def words_of(line: str) -> list[str]:
    """Split a shell line into words; a line that shlex refuses is split at blanks."""
    line = without_comment(line)
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def without_comment(line: str) -> str:
    """A line up to its comment, which begins at the start of a word: not in `${#array[@]}`."""
    quote = ""
    for index, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'" and line[index - 1 : index] != "\\":
            quote = sign
        elif sign == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index]
    return line


def named_path(token: str) -> str:
    """The path that a word of a command names, without the variables that it begins with."""
    clean = re.sub(r"^(?:(?:\$\{?\w+\}?|`[^`]*`|\$\([^)]*\)|\$[^/)]*\))/)+", "", token)
    clean = posixpath.normpath(clean)
    while clean.startswith("../"):
        clean = clean[3:]
    return clean


def places_of(named: str, script: str) -> Iterator[str]:
    """Where a path may lie: the folder of the script, or one above it, is where it is started."""
    folder = posixpath.dirname(script)
    yield posixpath.join(folder, named)
    while folder:
        folder = posixpath.dirname(folder)
        yield posixpath.join(folder, named)
