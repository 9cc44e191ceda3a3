"""`history --check --commit`: a commit of attnswitch or of a project, beside what is there now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attnswitch
from attnswitch.errors import InputError
from attnswitch.history.side_by_side import Side
from attnswitch.history.worktree import checked_out
from attnswitch.record.entries import Row
from attnswitch.record.project import describe_project

PACKAGE = "attnswitch"
# Where a project keeps its packages.
SOURCE_FOLDERS = ("src", "")


@contextmanager
def both_sides(project: Path, revision: str) -> Iterator[tuple[Side, Side]]:
    """(old, new): the commit in a folder of its own, and the project's folder as it is now.

    Where the project is attnswitch itself, each side is measured with its own attnswitch; another
    project's folders go before everything else on the path of a process, and attnswitch is today's.

    Raises:
        InputError: no repository, or no such commit.
    """
    now = describe_project(project)
    with checked_out(project, revision) as (folder, commit):
        top = Path(now["path"])
        changed = ", changed since" if now["dirty"] else ""
        names = f"{commit[:12]}", f"{top} at {now['commit'][:12]}{changed}"
        yield _side(names[0], folder), _side(names[1], top)


def _side(name: str, folder: Path) -> Side:
    own = next((p for s in SOURCE_FOLDERS if (p := folder / s / PACKAGE / "__init__.py").is_file()),
               None)  # fmt: skip
    if own is not None:
        return Side(name, own.parent)
    path = tuple(folder / s if s else folder for s in SOURCE_FOLDERS if (folder / s).is_dir())
    return Side(name, Path(attnswitch.__file__).resolve().parent, path)


def workloads_of(rows: Sequence[Row]) -> tuple[list[dict[str, Any]], list[str]]:
    """The workloads and requests of a run's valid rows, each once, in their order.

    Raises:
        InputError: there is none.
    """
    valid = [row for row in rows if row.is_valid]
    if not valid:
        raise InputError("the run has no valid row: nothing to measure again")
    workloads: list[dict[str, Any]] = []
    for row in valid:
        if row.data["workload"] not in workloads:
            workloads.append(row.data["workload"])
    return workloads, list(dict.fromkeys(row.data["request"] for row in valid))
