"""Commands that a program starts: `subprocess.Popen([sys.executable, "-m", "pkg.worker"])`."""

from __future__ import annotations

import re

from attnswitch.source.flow.values import (
    HOLE,
    Const,
    External,
    Guard,
    Row,
    Template,
    Value,
    alternatives,
)

#: Functions that start a command, by their dotted names.
STARTS = re.compile(
    r"^(?:subprocess\.)?(?:Popen|check_call|check_output)$|^subprocess\.(?:run|call)$"
    r"|^os\.(?:system|popen|execv\w*)$|(?:^|\.)create_subprocess_(?:exec|shell)$"
    r"|^get_ipython\.system$"
)


def commands(value: Value) -> list[tuple[Guard, list[str] | str]]:
    """The commands that an argument may be: a list of words, or a line for a shell."""
    found: list[tuple[Guard, list[str] | str]] = []
    for guard, item in alternatives(value):
        if isinstance(item, Row) and item.items:
            found.append((guard, [_word(part) for part in item.items]))
        elif isinstance(item, Const) and isinstance(item.value, str):
            found.append((guard, item.value))
        elif isinstance(item, Template):
            found.append((guard, item.text))
    return found


def _word(part: Value) -> str:
    if isinstance(part, Const):
        return str(part.value)
    if part == External("sys.executable"):
        return "python"
    return part.text if isinstance(part, Template) else HOLE
