"""The commit and the dirty flag of the project under test."""

from __future__ import annotations

import subprocess

from attnswitch.record.project import code_digest, describe_project


def git(folder, *arguments):
    name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *name, *arguments], check=True, capture_output=True)


def test_commit_and_dirty_flag(tmp_path):
    assert describe_project(tmp_path) == {}
    git(tmp_path, "init")
    assert describe_project(tmp_path) == {}, "no commit yet"
    (tmp_path / "model.py").write_text("x = 1\n")
    git(tmp_path, "add", "model.py")
    git(tmp_path, "commit", "-m", "one")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "untracked.txt").write_text("notes")
    clean = describe_project(inside)
    assert clean["path"] == str(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "model.py").write_text("x = 2\n")
    assert describe_project(inside) == {**clean, "dirty": True}


def test_without_git_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_project() == {}


def test_the_digest_follows_the_code(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    first = code_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("not code")
    assert code_digest(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2\n")
    assert code_digest(tmp_path) != first
