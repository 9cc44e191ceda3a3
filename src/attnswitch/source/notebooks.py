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
_SYSTEM = re.compile(r"^(\s*)(?:\w[\w, ]*=\s*)?(?:!!?|%(?=(?:pip|conda|mamba|uv)\b))\s*(.*)$")
_RUN = re.compile(r"^(\s*)%run\s+(?:-\w\s+)*(.*)$")
#: A magic in front of Python: `%time model = load()`.
_BEFORE_PYTHON = re.compile(r"^(\s*)%(?:time|timeit|prun|memit)\s+(?:-\w+\s+)*(\S.*)$")
_MAGIC = re.compile(r"^(\s*)(?:\w[\w, ]*=\s*)?%%?\w|^(\s*)\??[\w.]+\?{1,2}\s*$|^(\s*)\?")
#: Cell magics whose cell is Python, and those whose cell is a shell's.
_PYTHON_CELLS = {"time", "timeit", "capture", "prun", "python", "python3"}
_SHELL_CELLS = {"bash", "sh", "shell", "system", "!"}
#: What IPython puts into a command: `{expression}`, `$name`.
_PUT_IN = re.compile(r"\{[^{}]+\}|\$[A-Za-z_]\w*")


def as_python(path: str, text: str) -> tuple[str, list[Skipped]] | Skipped:
    """The code cells as one Python text with as many lines as the notebook, and what was left out.

    What IPython hands to a shell becomes `get_ipython().system("…")`, as IPython itself has it;
    other magics become `pass`. A cell in another language, or that is not Python, is left out, with
    the reason. A file that is no notebook, or that is not written a line for each line of code,
    comes back as a reason.
    """
    try:
        cells = json.loads(text)["cells"]
        sources = [(_source(cell["source"]), cell["cell_type"] == "code") for cell in cells]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Skipped(path, "no notebook of format 4")
    lines = text.split("\n")
    at = iter([number for number, line in enumerate(lines) if _SOURCE.match(line)])
    python = [""] * len(lines)
    left_out = []
    for source, is_code in sources:
        if not source or (isinstance(source, str) and "\n" in source and not is_code):
            continue  # nothing, or words in one text
        # An output may hold a source too: it is another text.
        begin = next((number for number in at if _written_at(lines, number, source)), None)
        if begin is None:
            return Skipped(path, "a notebook that is not written a line for each line of code")
        if not is_code:
            continue
        start = begin if isinstance(source, str) else begin + 1
        code = [source] if isinstance(source, str) else [line.rstrip("\r\n") for line in source]
        found = code if _problem(code) is None else _translated(code)
        problem = "in another language" if found is None else _problem(found)
        if found is None or problem:
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
    single = all("\n" not in line[:-1] for line in source)
    return opens and single and len(here) == len(source) and list(map(_text, here)) == source


def _text(line: str) -> str | None:
    """The text that a line of the file holds, None if it holds anything else."""
    try:
        found = json.loads(line.strip().removesuffix(","))
    except ValueError:
        return None
    return found if isinstance(found, str) else None


def _translated(cell: list[str]) -> list[str] | None:
    """Python in the place of what only IPython understands, line by line.

    None for a cell in another language.
    """
    first = next((number for number, line in enumerate(cell) if line.strip()), 0)
    magic = re.match(r"%%(\S+)", cell[first])
    if magic is None:
        return _without_magics(cell)
    before, rest = cell[:first], cell[first + 1 :]
    if magic.group(1) in _PYTHON_CELLS:
        return [*before, "", *_without_magics(rest)]
    if magic.group(1) in _SHELL_CELLS:
        # The script as a whole, for what it starts; and each line as a text, for what it installs.
        whole = "\n".join(rest) + "\n"
        return [*before, f"get_ipython().system({whole!r})", *map(repr, rest)]
    return None


def _without_magics(cell: list[str]) -> list[str]:
    found: list[str] = []
    for line in _joined(cell):
        if system := _SYSTEM.match(line):
            found.append(f"{system.group(1)}get_ipython().system({_command(system.group(2))})")
        elif run := _RUN.match(line):
            found.append(
                f"{run.group(1)}get_ipython().system({_command('python ' + run.group(2))})"
            )
        elif python := _BEFORE_PYTHON.match(line):
            found.append(python.group(1) + python.group(2))
        elif magic := _MAGIC.match(line):
            found.append(f"{next((g for g in magic.groups() if g), '')}pass")
        else:
            found.append(line)
    return found


def _command(text: str) -> str:
    """A command as Python writes a text: with the values that IPython puts in, where it can be."""
    if not _PUT_IN.search(text):
        return repr(text)
    named = re.sub(r"\$([A-Za-z_]\w*)", r"{\1}", text)
    written = f"f{named!r}"
    return repr(text) if _problem([written]) else written


def _joined(cell: list[str]) -> list[str]:
    """Commands that go on after a backslash in one line, empty lines in the place of the rest."""
    found: list[str] = []
    first = None
    for line in cell:
        if first is not None:
            found[first] = found[first].rstrip()[:-1] + " " + line.strip()
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
