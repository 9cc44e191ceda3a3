"""A copy of attnswitch as a git repository of two commits, the second of them slower on purpose."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import attnswitch

PACKAGE = Path(attnswitch.__file__).resolve().parent
# After each call of `blockwise` as many seconds are waited as make it slower by this share.
SLOWER = """

import time as _time
_attend = blockwise


def blockwise(*args, **kwargs):
    start = _time.perf_counter()
    result = _attend(*args, **kwargs)
    end = start + (_time.perf_counter() - start) * (1 + {share})
    while _time.perf_counter() < end:
        pass
    return result
"""


def git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *name, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def repository(folder: Path, share: float | None) -> Path:
    """The repository; tags `old` and `new`; with a share of None they differ by a comment alone."""
    source = folder / "src" / "attnswitch"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "old")
    git(folder, "tag", "old")
    home = source / "backends" / "query_blocks" / "__init__.py"
    added = "\n# the same\n" if share is None else SLOWER.format(share=share)
    home.write_text(home.read_text() + added)
    git(folder, "commit", "--quiet", "--all", "--message", "new")
    git(folder, "tag", "new")
    return folder
