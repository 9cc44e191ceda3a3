"""Reads a source tree without running it: what to open, and what to pass over and why."""

from __future__ import annotations

import io
import os
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

from attnswitch.errors import InputError
from attnswitch.source.notebooks import as_python
from attnswitch.source.records import Skipped

#: Larger files are generated data, not source. 2 MB is 20 times the largest hand-written
#: modelling file seen in this family of projects.
MAX_BYTES = 2_000_000
#: Notebooks hold the pictures that they have drawn, of a megabyte or so each.
MAX_NOTEBOOK_BYTES = 30_000_000
SKIP_FOLDERS = frozenset(
    {".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".mypy_cache"}
    | {".ruff_cache", ".pytest_cache", ".eggs", ".ipynb_checkpoints", "site-packages"}
)
_PYTHON = {".py", ".pyw"}
_SHELL = {".sh", ".bash", ".zsh", ".slurm", ".sbatch", ".cmd", ".bat", ".ps1"}
_MARKUP = {".md", ".rst", ".markdown"}
_INTERPRETER = re.compile(rb"#!\s*(?:\S*/)?(?:env\s+(?:-S\s+)?)?(python|(?:ba|z|da|k)?sh)[\d.]*\s")
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


@dataclass(frozen=True)
class SourceFile:
    """One file that was read: its path under the root, its kind and its text.

    A notebook is read as the Python of its cells, on the lines that it has in the file.
    """

    path: str
    kind: str
    text: str


def kind_of(name: str) -> str | None:
    """Return what a file of this name holds, or None if a scan has no use for it."""
    lower = name.lower()
    suffix = os.path.splitext(lower)[1]
    if suffix in _PYTHON:
        return "python"
    if suffix in _SHELL:
        return "shell"
    if suffix == ".ipynb":
        return "notebook"
    if suffix == ".json":
        return "json"
    if suffix in {".yaml", ".yml"}:
        return "yaml"
    if suffix == ".toml":
        return "toml"
    if lower.startswith("dockerfile") or lower.endswith(".dockerfile") or lower == "containerfile":
        return "docker"
    if suffix in {".txt", ".in", ".pip"} and ("require" in lower or "constraint" in lower):
        return "requirements"
    if lower in {"setup.cfg", "pipfile"}:
        return "config"
    if suffix in _MARKUP:
        return "markdown"
    return None


def decode(data: bytes) -> str | None:
    """Decode source bytes by byte-order mark, PEP 263 line or UTF-8; None for binary data."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            return None
    if b"\0" in data[:8192]:
        return None
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return data.decode("latin-1")


def package_name(root: Path) -> str:
    """The dotted name by which others import `root`, "" if it is no package."""
    parts: list[str] = []
    while (root / "__init__.py").is_file() and root.name.isidentifier():
        parts.insert(0, root.name)
        root = root.parent
    return ".".join(parts)


def _in_requirements_folder(folder: str) -> bool:
    return os.path.basename(folder).lower() in {"requirements", "requirement"}


def _kind_by_first_line(path: str) -> str | None:
    """What a file without an ending holds, by the interpreter that its first line names."""
    try:
        if not os.path.isfile(path) or os.path.islink(path):
            return None
        with open(path, "rb") as handle:
            named = _INTERPRETER.match(handle.readline(200))
    except OSError:
        return None
    return None if named is None else "python" if named.group(1) == b"python" else "shell"


def _walk(root: Path, skipped: list[Skipped]) -> list[tuple[str, str]]:
    """List (path, kind) below `root`; links are reported, never followed."""
    found: list[tuple[str, str]] = []

    def complain(error: OSError) -> None:
        skipped.append(Skipped(os.path.relpath(error.filename or "?", root), "cannot be listed"))

    for folder, names, files in os.walk(root, onerror=complain, followlinks=False):
        names[:] = sorted(n for n in names if n not in SKIP_FOLDERS)
        for name in [n for n in names if os.path.islink(os.path.join(folder, n))]:
            names.remove(name)
            link = os.path.relpath(os.path.join(folder, name), root)
            skipped.append(Skipped(Path(link).as_posix(), "a link to a folder, not followed"))
        for name in sorted(files):
            kind = kind_of(name)
            path = os.path.join(folder, name)
            if kind is None and name.endswith(".txt") and _in_requirements_folder(folder):
                kind = "requirements"
            elif kind is None and "." not in name:
                kind = _kind_by_first_line(path)
            if kind:
                found.append((path, kind))
    return found


def _inside(path: str, root: Path) -> bool:
    real = os.path.realpath(path)
    return real == str(root) or real.startswith(str(root) + os.sep)


def _read_one(path: str, kind: str, root: Path, relative: str) -> str | Skipped:
    if os.path.islink(path):
        if _inside(path, Path(os.path.realpath(root))):
            return Skipped(relative, "a link to another file of the tree")
        return Skipped(relative, "a link that leaves the tree or leads nowhere")
    try:
        if not os.path.isfile(path):
            return Skipped(relative, "not a plain file")
        size = os.path.getsize(path)
        if size > (MAX_NOTEBOOK_BYTES if kind == "notebook" else MAX_BYTES):
            return Skipped(relative, f"{size / 1e6:.1f} MB: generated, or data")
        with open(path, "rb") as handle:
            data = handle.read()
    except OSError as error:
        return Skipped(relative, f"cannot be read: {error.strerror or error}")
    if kind == "shell":
        data = data.rstrip(b"\0\n") + b"\n"  # shells pass over padding that a file system left
    text = decode(data)
    return Skipped(relative, "binary") if text is None else text


def _cells(relative: str, text: str, skipped: list[Skipped]) -> str | Skipped:
    """The code of a notebook; cells that are left out are noted."""
    found = as_python(relative, text)
    if isinstance(found, Skipped):
        return found
    skipped.extend(found[1])
    return found[0]


def read_tree(path: str | os.PathLike[str]) -> tuple[Path, list[SourceFile], list[Skipped]]:
    """Read everything under `path` that can hold a choice of attention.

    Returns the root (the folder of a single file), the files and what was passed over.
    Raises InputError if there is nothing at `path`.
    """
    start = Path(path)
    if not start.exists():
        raise InputError(f"scan: there is nothing at {os.fspath(path)!r}")
    skipped: list[Skipped] = []
    if start.is_file():
        root = start.resolve().parent
        kind = kind_of(start.name) or _kind_by_first_line(str(start.resolve()))
        listed = [(str(start.resolve()), kind or "python")]
    else:
        root = start.resolve()
        listed = _walk(root, skipped)
    files = []
    for name, kind in listed:
        relative = Path(os.path.relpath(name, root)).as_posix()
        text = _read_one(name, kind, root, relative)
        if kind == "notebook" and isinstance(text, str):
            kind, text = "python", _cells(relative, text, skipped)
        if isinstance(text, Skipped):
            skipped.append(text)
        else:
            files.append(SourceFile(relative, kind, text))
    return root, files, skipped
