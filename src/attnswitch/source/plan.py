"""What to change: turns the findings of a scan into edits, or into reasons to leave things."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from attnswitch.source import words
from attnswitch.source.mechanisms.keywords import overruled_in
from attnswitch.source.mechanisms.place import imports_kernel
from attnswitch.source.options_place import OptionsPlace, find_options
from attnswitch.source.project import Module, Project
from attnswitch.source.records import Finding, Scan

#: The variable that is read where a project keeps no options.
VARIABLE = "USE_FLASH_ATTENTION"
FROM_ENVIRONMENT = f'os.environ.get("{VARIABLE}", "1").lower() not in ("0", "false")'
OPTION = "use_flash_attention"
_LEFT_ALONE = {
    "option": "already an option",
    "shell-flag": "already an option, given by a script",
    "config-field": "already a field of a configuration",
    "on-if-importable": "chosen by what is installed, not fixed",
    "class-registry": "chosen by name elsewhere",
    "dependency": "a package, not a choice",
}


_NEWLINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Edit:
    """One change to one file. `line` and `column` (in characters) point into the original."""

    rule: str
    line: int
    column: int = 0
    test: str = ""
    names: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Untouched:
    """A finding that is left as it is, and why."""

    path: str
    line: int
    mechanism: str
    reason: str


@dataclass
class Plan:
    """All edits, by file, and everything that is left alone."""

    edits: dict[str, list[Edit]] = field(default_factory=dict)
    untouched: list[Untouched] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)

    def add(self, path: str, edit: Edit) -> None:
        """Plan an edit once."""
        edits = self.edits.setdefault(path, [])
        if edit not in edits:
            edits.append(edit)

    def leave(self, finding: Finding, reason: str) -> None:
        """Note why a finding stays."""
        note = Untouched(finding.path, finding.line, finding.mechanism, reason)
        if note not in self.untouched:
            self.untouched.append(note)


def make_plan(scan: Scan, project: Project, remove_dead: bool = False) -> Plan:
    """Decide for every finding of a scan what to do about it."""
    plan = Plan()
    for finding in scan.findings:
        module = project.modules.get(finding.path)
        if finding.status == "dead":
            plan.leave(finding, f"dead code: {finding.reason}")
        elif module is None or not isinstance(finding.node, ast.AST):
            plan.leave(finding, _LEFT_ALONE.get(finding.mechanism, "not Python"))
        elif module.is_notebook:
            plan.leave(finding, "in a notebook: change the cell there")
        else:
            _decide(plan, finding, module, project)
    if remove_dead:
        plan.remove = _dead_modules(scan, project)
    for path, edits in plan.edits.items():
        if any("os.environ" in e.test for e in edits):
            _need_os(plan, project.modules[path])
    return plan


def _dead_modules(scan: Scan, project: Project) -> list[str]:
    """Modules that nothing imports and that only patch attention."""
    by_path: dict[str, list[Finding]] = {}
    for finding in scan.findings:
        by_path.setdefault(finding.path, []).append(finding)
    programs = {e.path for e in scan.entry_points}
    return [
        path
        for path, found in by_path.items()
        if path in project.modules
        and path not in programs
        and any(
            f.mechanism in {"monkey-patch", "xformers"} and f.effect == "enables" for f in found
        )
        and all(f.status == "dead" and "no program here imports" in f.reason for f in found)
    ]


def _decide(plan: Plan, finding: Finding, module: Module, project: Project) -> None:
    mechanism = finding.mechanism
    if mechanism == "unguarded-import" or (
        mechanism == "xformers" and finding.effect == "requires"
    ):
        if finding.fixed or mechanism == "xformers":
            _guard_import(plan, finding, module)
        else:
            plan.leave(finding, "guarded where the package itself is imported")
    elif finding.value is not None and _is_literal(finding) and finding.effect != "offers":
        if finding.fixed:
            _make_parameter(plan, finding, module, project)
        else:
            plan.leave(finding, "already decided by an option, a variable or what is installed")
    elif finding.effect == "offers" and _is_literal(finding) and finding.value is not None:
        _from_environment(plan, finding, module, "default")
    elif mechanism == "monkey-patch" and isinstance(finding.node, ast.Call):
        _guard_call(plan, finding, module, project)
    elif mechanism == "assertion" and finding.effect == "requires":
        _relax(plan, finding, module, project)
    elif finding.effect in {"enables", "requires"}:
        reason = _LEFT_ALONE.get(mechanism, "carried out only where its caller asks for it")
        plan.leave(finding, reason)
    elif mechanism in {"option", "varlen-packing"}:
        reason = "works only with FlashAttention; its caller has to choose another way"
        plan.leave(finding, _LEFT_ALONE.get(mechanism, reason))


def _is_literal(finding: Finding) -> bool:
    value = finding.value
    if not isinstance(value, ast.Constant):
        return False
    if isinstance(value.value, bool):
        return finding.target == "flash"
    return isinstance(value.value, str) and words.family_of(value.value) == "flash"


def _position(module: Module, node: object) -> tuple[int, int]:
    """Line and column of a finding's value, the column counted in characters as LibCST does."""
    assert isinstance(node, ast.expr)
    line = node.lineno
    lines = _NEWLINE.split(module.text)
    text = lines[line - 1] if line <= len(lines) else ""
    raw = text.encode(errors="surrogatepass")[: node.col_offset]
    return line, len(raw.decode(errors="replace"))


# -- literals ---------------------------------------------------------------------------------


def _make_parameter(plan: Plan, finding: Finding, module: Module, project: Project) -> None:
    if _overrule_in_callee(plan, finding, module, project):
        return
    assert isinstance(finding.node, ast.AST)
    place = find_options(project, module, finding.node, finding.line)
    if place is None:
        _from_environment(plan, finding, module, "literal")
        return
    line, column = _position(module, finding.value)
    _add_option(plan, place)
    negated = _negated(finding)
    plan.add(module.path, Edit("literal", line, column, place.read, text="not" if negated else ""))


def _negated(finding: Finding) -> bool:
    """`disable_flash=False` asks for FlashAttention: the parameter goes in upside down."""
    value = finding.value
    return isinstance(value, ast.Constant) and value.value is False


def _from_environment(plan: Plan, finding: Finding, module: Module, rule: str) -> None:
    if not _os_is_free(module):
        plan.leave(finding, "the name os means something else in this file")
        return
    line, column = _position(module, finding.value)
    text = "not" if _negated(finding) else ""
    plan.add(module.path, Edit("literal", line, column, FROM_ENVIRONMENT, text=text))


def _overrule_in_callee(plan: Plan, finding: Finding, module: Module, project: Project) -> bool:
    """`train(attn_implementation="…")`, where train() itself reads the command line."""
    if not isinstance(finding.node, ast.keyword) or not finding.node.arg:
        return False
    call = _call_with(module, finding.node)
    symbol = project.resolve_anywhere(module, call.func) if call else None
    if symbol is None or symbol.module is None:
        return False
    function = symbol.node
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    name = finding.node.arg
    if name not in {a.arg for a in (*function.args.args, *function.args.kwonlyargs)}:
        return False
    if overruled_in(function, name):
        return True
    place = find_options(project, symbol.module, function.body[-1], 10**9, inside=function)
    if place is None or place.statement_line is None:
        return False
    _add_option(plan, place)
    is_text = isinstance(finding.value, ast.Constant) and isinstance(finding.value.value, str)
    edit = Edit(
        "overrule", place.statement_line, 0, place.read, (name,), '"eager"' if is_text else "False"
    )
    plan.add(symbol.module.path, edit)
    return True


def _call_with(module: Module, keyword: ast.keyword) -> ast.Call | None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and keyword in node.keywords:
            return node
    return None


def _add_option(plan: Plan, place: OptionsPlace) -> None:
    if place.exists:
        return
    rule = "option_field" if place.kind == "dataclass" else "option_argument"
    edit = Edit(rule, place.line, 0, names=(place.name,), text=place.style)
    plan.add(place.path, edit)


# -- imports, calls, assertions ------------------------------------------------------------------


def _guard_import(plan: Plan, finding: Finding, module: Module) -> None:
    node = finding.node
    assert isinstance(node, (ast.Import, ast.ImportFrom))
    if any(a.name == "*" for a in node.names):
        plan.leave(finding, "imports everything: which names to stand in for is unknown")
        return
    if _has_fallback(module, node):
        plan.leave(finding, "its except clause imports from another place, which is guarded")
        return
    names = tuple(dict.fromkeys(a.asname or a.name.split(".")[0] for a in node.names))
    if (
        not isinstance(node, ast.ImportFrom)
        and len(node.names) > 1
        and not all(imports_kernel(ast.Import([a])) for a in node.names)
    ):
        plan.leave(finding, "one import of several packages")
        return
    used = _used_at_import(module, set(names))
    if used:
        plan.leave(finding, f"{used} is used while the module is imported")
        return
    plan.add(module.path, Edit("guard_import", node.lineno, names=names))


def _has_fallback(module: Module, node: ast.stmt) -> bool:
    """True in the body of a try with a handler: a guard inside would swallow the fallback."""
    for item in ast.walk(module.tree):
        if isinstance(item, ast.Try) and item.handlers and node in item.body:
            return True
    return False


def _used_at_import(module: Module, names: set[str]) -> str | None:
    """A name that code outside functions uses: bases, decorators, defaults, top-level calls."""

    def search(body: list[ast.stmt]) -> str | None:
        for node in body:
            parts: list[ast.AST | None] = [node]
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                parts = [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
            elif isinstance(node, ast.ClassDef):
                inner = search(node.body)
                if inner:
                    return inner
                parts = [*node.bases, *node.decorator_list]
            elif isinstance(node, (ast.If, ast.Try)):
                for name in ("body", "orelse", "finalbody"):
                    inner = search(getattr(node, name, []))
                    if inner:
                        return inner
                parts = [node.test] if isinstance(node, ast.If) else []
            for part in parts:
                for item in ast.walk(part) if part is not None else ():
                    if (
                        isinstance(item, ast.Name)
                        and item.id in names
                        and isinstance(item.ctx, ast.Load)
                    ):
                        return item.id
        return None

    return search(module.tree.body)


def _guard_call(plan: Plan, finding: Finding, module: Module, project: Project) -> None:
    node = finding.node
    assert isinstance(node, ast.Call)
    if not finding.fixed:
        plan.leave(finding, "already behind a test")
        return
    place = find_options(project, module, node, finding.line)
    if place is not None:
        _add_option(plan, place)
        plan.add(module.path, Edit("guard_call", node.lineno, 0, place.read))
    elif _os_is_free(module):
        plan.add(module.path, Edit("guard_call", node.lineno, 0, FROM_ENVIRONMENT))
    else:
        plan.leave(finding, "the name os means something else in this file")


def _relax(plan: Plan, finding: Finding, module: Module, project: Project) -> None:
    node = finding.node
    assert isinstance(node, (ast.Assert, ast.If))
    text = ast.unparse(node.test)
    if VARIABLE in text or OPTION in text:
        return
    place = find_options(project, module, node, finding.line)
    if place is not None:
        _add_option(plan, place)
    elif not _os_is_free(module):
        plan.leave(finding, "the name os means something else in this file")
        return
    read = place.read if place else FROM_ENVIRONMENT
    plan.add(module.path, Edit("relax", node.lineno, node.col_offset, read))


def _os_is_free(module: Module) -> bool:
    """True if `os` is the module, or nothing yet, everywhere in the file."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id == "os" and not isinstance(node.ctx, ast.Load):
            return False
        if isinstance(node, ast.arg) and node.arg == "os":
            return False
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if ((alias.asname or alias.name) == "os") and (
                    isinstance(node, ast.ImportFrom) or alias.name != "os"
                ):
                    return False
    return True


def _need_os(plan: Plan, module: Module) -> None:
    """Plan `import os` at the top, unless it is there before everything that reads it."""
    first = min(e.line for e in plan.edits[module.path] if "os.environ" in e.test)
    for node in module.tree.body:
        if (
            isinstance(node, ast.Import)
            and node.lineno < first
            and any(a.name == "os" and not a.asname for a in node.names)
        ):
            return
    plan.add(module.path, Edit("import_os", 1))
