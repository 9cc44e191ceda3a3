"""The code of a Jupyter notebook as Python, each line where the notebook file has it."""

from __future__ import annotations

import ast
import json
import re
import warnings

from attnswitch.source.records import Skipped

#: `"source": [` as nbformat writes it, before a line of the file for each line of the cell; or a
#: text, as some editors write it.
_SOURCE = re.compile(r'^\s*"source":\s*[\["]')
_SYSTEM = re.compile(r"^(\s*)(?:[\w,\s]+=\s*)?(?:!!?|%(?=(?:pip|conda|mamba|uv)\b))\s*(.*)$")
_MAGIC = re.compile(r"^(\s*)(?:%|\?)|^(\s*)[\w.]+\?{1,2}\s*$")
#: Cell magics whose cell is Python, and those whose cell is a shell's.
_PYTHON_CELLS = {"time", "timeit", "capture", "prun", "python", "python3"}
_SHELL_CELLS = {"bash", "sh", "shell", "system", "!"}


def as_python(path: str, text: str) -> tuple[str, list[Skipped]] | Skipped:
    """The code cells as one Python text with as many lines as the notebook, and what was left out.

    What IPython hands to a shell becomes `get_ipython().system("…")`, as IPython itself has it;
    other magics become `pass`. A cell that is not Python is left out, with the reason. A file that
    is no notebook, or that is not written a line for each line of code, comes back as a reason.
    """
    try:
        cells = json.loads(text)["cells"]
        sources = [_source(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Skipped(path, "no notebook of format 4")
    lines = text.split("\n")
    at = iter([number for number, line in enumerate(lines) if _SOURCE.match(line)])
    python = [""] * len(lines)
    left_out = []
    for source in sources:
        if not source:
            continue
        # An output, or a cell of text, may hold a source too: it is another text.
        begin = next((number for number in at if _written_at(lines, number, source)), None)
        if begin is None:
            return Skipped(path, "a notebook that is not written a line for each line of code")
        start = begin if isinstance(source, str) else begin + 1
        code = [source] if isinstance(source, str) else [line.rstrip("\r\n") for line in source]
        found = code if _problem(code) is None else _translated(code)
        problem = _problem(found)
        if problem:
            left_out.append(Skipped(path, f"cell in line {start + 1}: {problem}"))
        else:
            python[start : start + len(code)] = found
    return "\n".join(python), left_out


def _source(source: object) -> list[str] | str:
    """The source of a cell: a list of lines, or one text."""
    if isinstance(source, str):
        return source
    if not isinstance(source, list) or not all(isinstance(line, str) for line in source):
        raise TypeError("a source is a list of lines, or a text")
    return source


def _written_at(lines: list[str], begin: int, source: list[str] | str) -> bool:
    """True if the lines of the file from `"source":` on are this source, a line for each line."""
    if isinstance(source, str):
        value = lines[begin].partition(":")[2]
        return "\n" not in source and _text(value) == source
    here = lines[begin + 1 : begin + 1 + len(source)]
    opens = lines[begin].rstrip().endswith("[")
    return opens and len(here) == len(source) and list(map(_text, here)) == source


def _text(line: str) -> str | None:
    """The text that a line of the file holds, None if it holds anything else."""
    try:
        found = json.loads(line.strip().removesuffix(","))
    except ValueError:
        return None
    return found if isinstance(found, str) else None


def _translated(cell: list[str]) -> list[str]:
    """Python in the place of what only IPython understands, line by line."""
    magic = re.match(r"%%(\S+)", cell[0])
    if magic is None:
        return _without_magics(cell)
    if magic.group(1) in _PYTHON_CELLS:
        return ["", *_without_magics(cell[1:])]
    if magic.group(1) in _SHELL_CELLS:
        return ["", *_without_magics([f"!{line}" for line in cell[1:]])]
    return [""] * len(cell)


def _without_magics(cell: list[str]) -> list[str]:
    found: list[str] = []
    for line in _joined(cell):
        system, magic = _SYSTEM.match(line), _MAGIC.match(line)
        if system:
            found.append(f"{system.group(1)}get_ipython().system({system.group(2)!r})")
        elif magic:
            found.append(f"{magic.group(1) or magic.group(2) or ''}pass")
        else:
            found.append(line)
    return found


def _joined(cell: list[str]) -> list[str]:
    """Commands that go on after a backslash in one line, empty lines in the place of the rest."""
    found: list[str] = []
    first = None
    for line in cell:
        if first is not None:
            found[first] = found[first].rstrip()[:-1] + " " + line.strip().removeprefix("!")
            found.append("")
        else:
            found.append(line)
            first = len(found) - 1 if _SYSTEM.match(line) else None
        if first is not None and not found[first].rstrip().endswith("\\"):
            first = None
    return found


def _problem(code: list[str]) -> str | None:
    """Why this is no Python; None if it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse("\n".join(code))
    except SyntaxError as error:
        return f"syntax error: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"cannot be parsed: {type(error).__name__}"
    return None
