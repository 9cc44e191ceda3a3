"""A commit of a project in a folder of its own, for a while."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnswitch.errors import InputError, did_you_mean
from attnswitch.record.project import git


@contextmanager
def checked_out(project: Path, revision: str) -> Iterator[tuple[Path, str]]:
    """(folder, full commit) of `revision` of the repository at `project`; gone afterwards.

    The project's own folder, index and branches are left as they are.

    Raises:
        InputError: no repository, or no such commit in it.
    """
    commit = resolve(project, revision)
    with tempfile.TemporaryDirectory(prefix="attnswitch-") as parent:
        folder = Path(parent) / "project"
        _git(project, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        try:
            yield folder, commit
        finally:
            _git(project, "worktree", "remove", "--force", str(folder))


def resolve(project: Path, revision: str) -> str:
    """The full commit that `revision` names (a commit, branch, tag, HEAD~3).

    Raises:
        InputError: no repository, or no such commit in it.
    """
    if git(project, "rev-parse", "--git-dir") is None:
        raise InputError(f"{project} is no git repository: --project FOLDER names another")
    if revision.startswith("-"):
        raise InputError(f"{revision!r} is no commit")
    commit = git(project, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not commit:
        names = (git(project, "for-each-ref", "--format=%(refname:short)") or "").splitlines()
        hint = did_you_mean(revision, names)
        raise InputError(f"{project} has no commit {revision!r}{hint}")
    return commit


def _git(project: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["git", "-C", str(project), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["git said nothing"])[-1]
        raise InputError(f"git {' '.join(arguments[:2])} failed in {project}: {last}")
