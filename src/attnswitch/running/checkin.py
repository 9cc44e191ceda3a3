"""The check-in folder: what armed processes tell the `attnswitch run` that started them.

`run` makes a folder and names it in `ATTNSWITCH_CHECKIN`; every process that the switch reaches
leaves small files there, written at once, so that a process which is killed has still said what
it had to say. Standard library only: this is imported at the start of armed processes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

VARIABLE = "ATTNSWITCH_CHECKIN"

STARTED = "started"  # a Python started and watches for torch
ARMED = "armed"  # torch was imported under the switch
REFUSED = "refused"  # the switch could not be put in force; torch was not imported
TRIPPED = "tripped"  # a forbidden kernel was stopped
UNWRITTEN = "unwritten"  # a receipt could not be written
WRITTEN = "written"  # a receipt was written
RAN = "ran"  # a kernel that is required ran
DISOBEYED = "disobeyed"  # a place ran something else than it was asked for

_numbers = count()


def note(kind: str, text: str = "") -> bool:
    """Leave a note of `kind` for the `attnswitch run` above this process; False without one.

    A folder that is gone means that `run` has ended and nobody listens: no error.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return False
    path = os.path.join(folder, f"{kind}-{os.getpid()}-{next(_numbers)}")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return False
    return True


def claim(what: str) -> bool:
    """Whether this process is the first under one `attnswitch run` to claim `what`.

    True where there is no `run`, since then nobody else claims it.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return True
    try:
        with open(os.path.join(folder, f"claim-{what}"), "x", encoding="utf-8"):
            return True
    except FileExistsError:
        return False
    except OSError:
        return True


@dataclass
class Notes:
    """What was left in a check-in folder: the texts of each kind, and who left them."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    processes: dict[str, set[int]] = field(default_factory=dict)

    def of(self, kind: str) -> list[str]:
        """The texts of one kind, without repetitions."""
        return list(dict.fromkeys(self.texts.get(kind, [])))

    def count(self, kind: str) -> int:
        """How many processes left a note of this kind."""
        return len(self.processes.get(kind, ()))


def read_notes(folder: Path) -> Notes:
    """Read every note in `folder`."""
    notes = Notes()
    for path in sorted(folder.iterdir()):
        kind, _, rest = path.name.partition("-")
        process = rest.partition("-")[0]
        if not process.isdigit():
            continue
        notes.texts.setdefault(kind, []).append(path.read_text(encoding="utf-8"))
        notes.processes.setdefault(kind, set()).add(int(process))
    return notes
