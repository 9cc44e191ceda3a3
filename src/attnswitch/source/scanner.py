"""The scan: reads a tree, finds the places, follows the programs, gives the verdicts."""

from __future__ import annotations

import ast
import gc
import os
import posixpath
import time

from attnswitch.source import mechanisms
from attnswitch.source.deep import deeply
from attnswitch.source.entry_points import judge_programs
from attnswitch.source.files import find_in_file
from attnswitch.source.files.dependencies import install_line
from attnswitch.source.flow.knowledge import Knowledge
from attnswitch.source.launches import find_launches, started_in_notebooks
from attnswitch.source.liveness import judge_status
from attnswitch.source.nested_scripts import through_scripts
from attnswitch.source.pins import pinned_transformers
from attnswitch.source.programs import find_programs
from attnswitch.source.project import Module, Project, parse
from attnswitch.source.reach import Reach
from attnswitch.source.records import Finding, Scan, Skipped
from attnswitch.source.tree import SourceFile, package_name, read_tree
from attnswitch.source.words import DISTRIBUTION

#: How a text in Python begins that is an install command.
_INSTALLERS = ("pip", "python", "!pip", "uv")


def scan(path: str | os.PathLike[str], processes: int = 1) -> Scan:
    """Find every place under `path` that decides about attention, and what each program gets.

    `path` is a checkout, an installed package, a folder with remote code, or one file. Nothing
    of it is imported or run. Programs are followed in up to `processes` processes, forks of this
    one (on Linux; elsewhere in this one). Raises InputError if there is nothing at `path`.
    """
    return scan_with_project(path, processes)[0]


def scan_with_project(path: str | os.PathLike[str], processes: int = 1) -> tuple[Scan, Project]:
    """The scan, and the parsed tree that it speaks of."""
    collecting = gc.isenabled()
    gc.disable()  # syntax trees are many objects and no cycles: a third of the time
    try:
        return deeply(lambda: _scan(path, processes))
    finally:
        if collecting:
            gc.enable()


def _scan(path: str | os.PathLike[str], processes: int) -> tuple[Scan, Project]:
    started = time.perf_counter()
    root, files, skipped = read_tree(path)
    modules, failed = _parse_all(files)
    project = Project(modules, package_name(root))
    project.data = {f.path: f for f in files if f.kind in {"yaml", "json"}}
    findings = _find(project, modules, files)
    launches = [x for f in files if f.kind == "shell" for x in find_launches(project, f)]
    launches += through_scripts(files, launches)
    launched = {x.program.path for x in launches} | started_in_notebooks(project)
    programs = find_programs(project, files, launched)
    knowledge = Knowledge(project, findings)
    knowledge.pin = pinned_transformers(files)
    entry_points = judge_programs(project, knowledge, programs, launches, processes)
    roots = [p.module for p in programs]
    names = {p.module.path: {p.calls} for p in programs if p.calls}
    reach = Reach(project, roots, names)
    judge_status(findings, project, reach, bool(programs))
    findings.sort(key=lambda f: (f.path, f.line, f.mechanism))
    skipped = sorted([*skipped, *failed], key=lambda s: s.path)
    seconds = time.perf_counter() - started
    return Scan(str(root), findings, entry_points, skipped, len(files), seconds), project


def _parse_all(files: list[SourceFile]) -> tuple[list[Module], list[Skipped]]:
    modules: list[Module] = []
    failed: list[Skipped] = []
    for file in files:
        if file.kind == "python":
            module = parse(file)
            if isinstance(module, Skipped):
                failed.append(module)
            else:
                modules.append(module)
    return modules, failed


def _find(project: Project, modules: list[Module], files: list[SourceFile]) -> list[Finding]:
    findings: list[Finding] = []
    needing = mechanisms.names_that_need_a_kernel(modules)
    for module in modules:
        findings.extend(mechanisms.find_in_module(project, module, needing))
        findings.extend(_packages_in_python(module))
    for file in files:
        if file.kind != "python":
            findings.extend(find_in_file(file))
    unique: dict[tuple[str, int, str], Finding] = {}
    for finding in findings:
        unique.setdefault((finding.path, finding.line, finding.mechanism), finding)
    return list(unique.values())


def _packages_in_python(module: Module) -> list[Finding]:
    """Requirements in a setup.py, and install commands that a program runs."""
    is_setup = posixpath.basename(module.path) == "setup.py"
    if not DISTRIBUTION.search(module.text) or not (is_setup or "install" in module.text):
        return []
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        text = node.value
        match = DISTRIBUTION.match(text.strip()) if is_setup and len(text) < 80 else None
        runs = len(text) < 200 and "\n" not in text and install_line(text)
        if match or (runs and (module.is_notebook or text.lstrip().startswith(_INSTALLERS))):
            name = match.group(1) if match else str(runs)
            finding = Finding(
                module.path, node.lineno, "dependency", f"installs {name}", "installs"
            )
            finding.target = "xformers" if "xformers" in name else "flash"
            if is_setup:
                finding.status, finding.reason = "live", "installed with the project"
            found.append(finding)
    return found
