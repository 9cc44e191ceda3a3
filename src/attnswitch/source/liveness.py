"""Live, dead or unknown: what is known about whether a finding's code is used."""

from __future__ import annotations

import ast
import posixpath
import re

from attnswitch.source.configurations import is_configuration
from attnswitch.source.project import Module, Project
from attnswitch.source.reach import Reach, Scope
from attnswitch.source.records import Finding

CONFIGURATION = "a configuration that is loaded by its path"
_REMOTE = re.compile(r"^(modeling|configuration|processing|image_processing|tokenization)_")
_TESTS = re.compile(r"(^|/)(tests?|testing)/|(^|/)(test_\w+|\w+_test|conftest)\.py$")


def judge_status(
    findings: list[Finding], project: Project, reach: Reach, has_programs: bool
) -> None:
    """Set status and reason of every Python finding; other files bring their own."""
    config_like: dict[str, bool] = {}
    for finding in findings:
        module = project.modules.get(finding.path)
        if module is None or (finding.mechanism == "dependency" and finding.reason):
            continue
        if finding.path not in config_like:
            config_like[finding.path] = is_configuration(module)
        finding.status, finding.reason = _status(
            finding, module, reach, has_programs, config_like[finding.path]
        )
        if finding.reason == CONFIGURATION:
            finding.fixed = False  # a value in a configuration is a parameter already


def _status(
    finding: Finding, module: Module, reach: Reach, has_programs: bool, config_like: bool
) -> tuple[str, str]:
    name = finding.scope.split(".")[0]
    scope = Scope(finding.path, name)
    if _never_runs(module, finding.line):
        return "dead", "behind a test that is always false, or after a return"
    if scope in reach:
        origin = reach.origin(scope)
        here = origin == finding.path
        return "live", "part of the program itself" if here else f"reached from {origin}"
    if config_like:
        return "unknown", CONFIGURATION
    if not has_programs:
        if not name:
            return "live", "runs when the file is imported"
        return "unknown", "no program in this tree starts it; whoever imports it may"
    if _TESTS.search(finding.path):
        return "unknown", "used by tests"
    if _REMOTE.match(posixpath.basename(finding.path)) and Scope(finding.path, "") not in reach:
        return "unknown", "may be loaded as remote code of a model"
    if Scope(finding.path, "") in reach:
        return "dead", f"the module is imported, {name} is not used by any program here"
    return "dead", "no program here imports this module"


def _never_runs(module: Module, line: int) -> bool:
    body: list[ast.stmt] = module.tree.body
    while True:
        inner: list[ast.stmt] | None = None
        left = False
        for node in body:
            if node.lineno <= line <= (node.end_lineno or node.lineno):
                if left:
                    return True
                inner = _block_with(node, line)
                if isinstance(node, ast.If) and _constant_side(node, line) is False:
                    return True
                break
            left = left or isinstance(node, (ast.Return, ast.Raise, ast.Continue, ast.Break))
        if inner is None:
            return False
        body = inner


def _block_with(node: ast.stmt, line: int) -> list[ast.stmt] | None:
    blocks = [getattr(node, name, None) for name in ("body", "orelse", "finalbody")]
    blocks += [h.body for h in getattr(node, "handlers", [])]
    for block in blocks:
        if (
            isinstance(block, list)
            and block
            and isinstance(block[0], ast.stmt)
            and (block[0].lineno <= line <= (block[-1].end_lineno or 0))
        ):
            return block
    return None


def _constant_side(node: ast.If, line: int) -> bool | None:
    """False if the line is on the side of an `if 0:` or `if False:` that never runs."""
    if not isinstance(node.test, ast.Constant):
        return None
    in_body = node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0)
    return bool(node.test.value) == in_body
