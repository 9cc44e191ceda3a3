"""The patch: scans a tree, plans edits, applies them file by file, and shows a diff.

A file is changed only if it survives a round trip through LibCST byte for byte, every planned
edit found its place, and the result parses.
"""

from __future__ import annotations

import ast
import difflib
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from attnswitch.errors import MissingExtraError
from attnswitch.source.plan import Edit, Plan, Untouched, make_plan
from attnswitch.source.project import Project
from attnswitch.source.scanner import scan_with_project

if TYPE_CHECKING:
    import libcst


@dataclass(frozen=True)
class Changed:
    """A file with a new text (None: removed), and the rules that changed it."""

    path: str
    before: bytes
    after: bytes | None
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A file that was to be changed and was not, and why; it is left as it is."""

    path: str
    reason: str


@dataclass
class Patch:
    """The result of planning and trying every edit; nothing is written yet."""

    root: str
    changed: list[Changed] = field(default_factory=list)
    untouched: list[Untouched] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def diff(self) -> str:
        """A unified diff that `git apply` and `patch -p1` take."""
        return "".join(_diff(change) for change in self.changed)

    def write(self) -> None:
        """Apply the patch to the tree."""
        for change in self.changed:
            target = Path(self.root) / change.path
            if change.after is None:
                target.unlink()
            else:
                target.write_bytes(change.after)


def patch(path: str | os.PathLike[str], remove_dead: bool = False) -> Patch:
    """Turn each hard-coded choice of FlashAttention under `path` into one parameter.

    Nothing is written: `Patch.diff()` shows the change, `Patch.write()` applies it. Raises
    MissingExtraError without LibCST and InputError if there is nothing at `path`.
    """
    try:
        import libcst  # noqa: F401 - asked for before anything is read
    except ImportError:
        raise MissingExtraError("libcst", "source", "attnswitch patch") from None
    scan, project = scan_with_project(path)
    plan = make_plan(scan, project, remove_dead)
    return carry_out(plan, project, scan.root)


def carry_out(plan: Plan, project: Project, root: str) -> Patch:
    """Try all edits of a plan; a file whose edits do not all fit is left alone."""
    result = Patch(root, untouched=list(plan.untouched))
    for path in sorted(plan.edits):
        outcome = _change_file(Path(root) / path, path, plan.edits[path])
        if isinstance(outcome, Failed):
            result.failed.append(outcome)
        elif outcome is not None:
            result.changed.append(outcome)
    _drop_orphans(result, plan, project)
    for path in plan.remove:
        before = (Path(root) / path).read_bytes()
        result.changed.append(Changed(path, before, None, ("remove_dead",)))
    return result


def _drop_orphans(result: Patch, plan: Plan, project: Project) -> None:
    """A file may read an option only if the file that declares it was changed too."""
    failed = {f.path for f in result.failed}
    if not failed:
        return
    declares = {
        path
        for path, edits in plan.edits.items()
        if any(e.rule in {"option_field", "option_argument"} for e in edits)
    }
    if not declares & failed:
        return
    for change in list(result.changed):
        reads = any("use_flash_attention" in e.test for e in plan.edits[change.path])
        if reads:
            result.changed.remove(change)
            reason = "the option it would read could not be added elsewhere"
            result.failed.append(Failed(change.path, reason))


def _change_file(target: Path, path: str, edits: list[Edit]) -> Changed | Failed | None:
    try:
        before = target.read_bytes()
    except OSError as error:
        return Failed(path, f"cannot be read: {error.strerror or error}")
    outcome = apply_edits(before, edits)
    if isinstance(outcome, str):
        return Failed(path, outcome)
    if outcome == before:
        return None
    return Changed(path, before, outcome, tuple(sorted({e.rule for e in edits})))


def apply_edits(before: bytes, edits: list[Edit]) -> bytes | str:
    """Apply edits to the bytes of a file; a string says why that is not possible."""
    import libcst

    try:
        module = libcst.parse_module(before)
    except (libcst.ParserSyntaxError, UnicodeDecodeError, SyntaxError, LookupError) as error:
        return f"LibCST cannot parse it: {str(error).splitlines()[0]}"
    except RecursionError:
        return "nested too deeply for LibCST"
    if module.bytes != before:
        return "does not survive a round trip through LibCST"
    try:
        after, missing = _transform(module, edits)
    except RecursionError:
        return "nested too deeply for LibCST"
    if missing:
        return f"line {missing[0].line}: the place for {missing[0].rule} was not found"
    data = after.bytes
    reason = _breaks(data)
    return reason if reason else data


def _transform(module: libcst.Module, edits: list[Edit]) -> tuple[libcst.Module, list[Edit]]:
    from libcst.metadata import MetadataWrapper

    from attnswitch.source.driver import Driver

    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    driver = Driver(edits)
    return wrapper.visit(driver), [e for e in edits if e not in driver.done]


def _breaks(data: bytes) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except (SyntaxError, ValueError) as error:
        return f"the result would not parse: {error}"
    return None


def _diff(change: Changed) -> str:
    old = change.before.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    after = change.after or b""
    new = after.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    target = "/dev/null" if change.after is None else f"b/{change.path}"
    lines = list(difflib.unified_diff(old, new, f"a/{change.path}", target))
    return "".join(
        line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines
    )
