"""The project under test: which commit, changed or not, and which code really ran."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 30.0


def describe_project(folder: str | Path | None = None) -> dict[str, Any]:
    """{path, commit, dirty} of the git repository around `folder` (None: the current folder).

    `dirty` says that tracked files differ from the commit. Empty where there is no repository, or
    one without a commit, or no git.
    """
    start = Path.cwd() if folder is None else Path(folder)
    top = git(start, "rev-parse", "--show-toplevel")
    commit = git(start, "rev-parse", "HEAD")
    if not top or not commit:
        return {}
    changed = git(start, "status", "--porcelain", "--untracked-files=no")
    return {"path": top, "commit": commit, "dirty": bool(changed)}


def git(folder: Path, *arguments: str) -> str | None:
    """What git answers in `folder`, or None where it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=False,
            timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="surrogateescape").strip() if done.returncode == 0 else None


def code_digest(package: Path) -> str:
    """A short digest of a package's Python files: equal where the same code ran.

    A commit says what the project's folder holds; the package that is imported may be another.
    """
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(str(path.relative_to(package)).encode(errors="surrogateescape"))
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
