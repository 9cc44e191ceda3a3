"""Finds the programs of a tree: Python scripts, notebooks, and installed commands."""

from __future__ import annotations

import ast
import posixpath
import re
from collections import deque
from dataclasses import dataclass, field

from attnswitch.source.configurations import is_configuration
from attnswitch.source.dynamic import dynamic_imports
from attnswitch.source.project import Module, Project, Symbol, dotted_text
from attnswitch.source.tree import SourceFile

_KINDS = (
    ("training", r"train|finetun|fine|pretrain|dpo|sft|rlhf|grpo|mpo|ppo|lora|qlora|align|stage\d"),
    ("serving", r"serv|worker|gradio|webdemo|streamlit|app|apis?|controller|chatbot|web"),
    ("evaluation", r"eval|bench|vqa|mme|mmmu|pope|test|score|scoring|retrieval|probe"),
    ("inference", r"infer|predict|demo|chat|generat|cli|run|example|quickstart|quick|caption"),
)
_WORKS = re.compile(r"from_pretrained|load_pretrained|parse_args")
_LOADS = re.compile(r"(?:^|\.)(?:from_pretrained|load_pretrained_model)(?:\.|$)")
#: Calls from one function to the next before a model is loaded.
MOST_CALLS = 3
_TOOLS = re.compile(r"merge|convert|extract|consolidate|_delta|quantiz|export|download|split")
_SCRIPT_LINE = re.compile(
    r"^\s*[\"']?([\w.-]+)[\"']?\s*=\s*[\"']([\w.]+):([\w.]+)[\"']", re.MULTILINE
)
_CONSOLE_SCRIPT = re.compile(r"[\"']\s*[\w.-]+\s*=\s*([\w.]+):([\w.]+)\s*[\"']")


@dataclass(frozen=True)
class Program:
    """A Python file that is started, with the line where it starts and what it is for."""

    module: Module
    line: int
    kind: str
    calls: str | None = None


@dataclass
class Launch:
    """A line of a shell script that starts a Python file of the tree.

    `settings` is what the configurations hold that are given, None if none is; `told` are the
    flags that such a file gives, with its path. `as_module`: by `python -m`.
    """

    path: str
    line: int
    program: Module
    flags: dict[str, object] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] | None = None
    told: dict[str, str] = field(default_factory=dict)
    as_module: bool = False


def converts(path: str) -> bool:
    """True for a program that merges, converts or exports weights, by its name."""
    return bool(_TOOLS.search(posixpath.splitext(posixpath.basename(path))[0].lower()))


def kind_of_program(path: str) -> str:
    """training, inference, serving, evaluation or tool, read off the path."""
    if converts(path):
        return "tool"
    stem = posixpath.splitext(posixpath.basename(path))[0].lower()
    for text in (stem, *reversed(posixpath.dirname(path).lower().split("/"))):
        parts = [part for part in re.split(r"[_\-. \d]+", text) if part]
        for kind, pattern in _KINDS:
            if any(re.match(pattern, part) for part in parts):
                return kind
    return "tool"


def main_line(module: Module) -> int | None:
    """The line of `if __name__ == "__main__"`, if the module has one."""
    if "__main__" not in module.text:
        return None
    for node in module.tree.body:
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            return node.lineno
    return None


def _has_work(project: Project, module: Module) -> bool:
    """True for a script without a main guard: calls at its top, outside any package."""
    calls = 0
    for node in module.tree.body:
        value = node.value if isinstance(node, (ast.Expr, ast.Assign)) else None
        if isinstance(node, (ast.For, ast.While, ast.With)):
            calls += 2
        if isinstance(value, ast.Call):
            calls += 2 if _LOADS.search(dotted_text(value.func)) else 1
    if calls < 2 or is_configuration(module):
        return False
    return bool(_WORKS.search(module.text)) or _makes_a_model(project, module)


def _makes_a_model(project: Project, module: Module) -> bool:
    """True for `chat = Chat(path)` at the top, of a class of the tree whose methods load one.

    The same for a function of the tree, for a class that is made in a function of the script which
    is called at its top, and in `with …:` there.
    """
    blocks = [module.tree.body]
    blocks += [n.body for n in module.tree.body if isinstance(n, ast.With)]
    for node in (n for block in blocks for n in block):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        called = project.resolve_dotted(module, node.value.func)
        if called is None or called.node is None:
            continue
        inside = called.kind == "function" and called.module is module
        calls = project.mentions(called.node).calls if inside else [node.value]
        if any(_loads(project, project.resolve_dotted(module, c.func), module) for c in calls):
            return True
    return False


def _loads(project: Project, made: Symbol | None, module: Module) -> bool:
    """True for a function, or a class with its methods, of another module that loads a model.

    It may do so by other functions, which it calls.
    """
    if made is None or made.module is module:
        return False
    if made.key not in project.loading:
        project.loading[made.key] = _leads_to_a_load(project, made)
    return project.loading[made.key]


def _leads_to_a_load(project: Project, made: Symbol) -> bool:
    todo, seen = deque([(made, 0)]), set()
    while todo:
        symbol, depth = todo.popleft()
        if symbol.kind not in {"class", "function"} or symbol.node is None or symbol.key in seen:
            continue
        seen.add(symbol.key)
        for call in project.mentions(symbol.node).calls:
            if _LOADS.search(dotted_text(call.func)):
                return True
            called = project.resolve_dotted(symbol.module, call.func) if symbol.module else None
            if called is not None and depth < MOST_CALLS:
                todo.append((called, depth + 1))
    return False


def find_programs(project: Project, files: list[SourceFile], launched: set[str]) -> list[Program]:
    """All Python programs of a tree, in the order of their paths."""
    found: dict[str, Program] = {}
    imported = _imported_modules(project)
    for module in project.modules.values():
        name = posixpath.basename(module.path)
        if name in {"setup.py", "conftest.py"}:
            continue
        line = main_line(module)
        if line is not None:
            found[module.path] = Program(module, line, kind_of_program(module.path))
        elif (
            module.path in launched
            or (module.is_notebook and module.tree.body)
            or (module.path not in imported and _has_work(project, module))
        ):
            found[module.path] = Program(module, 1, kind_of_program(module.path))
    for program in _installed(project, files):
        found.setdefault(program.module.path, program)
    return [found[path] for path in sorted(found)]


def _imported_modules(project: Project) -> set[str]:
    found: set[str] = set()
    for module in project.modules.values():
        for statement in module.tree.body:
            for node in project.mentions(statement).imports:
                found.update(m.path for m in project.loaded_by(module, node))
        found.update(m.path for m in dynamic_imports(project, module))
    return found


def _installed(project: Project, files: list[SourceFile]) -> list[Program]:
    """Commands that a package installs, and cog's predictors."""
    found = []
    for file in files:
        folder = posixpath.dirname(file.path)
        if file.kind == "toml" and "scripts]" in file.text:
            block = file.text.split("scripts]", 1)[1].split("\n[", 1)[0]
            commands = [m.groups()[1:] for m in _SCRIPT_LINE.finditer(block)]
        elif posixpath.basename(file.path) == "setup.py" and "console_scripts" in file.text:
            commands = [m.groups() for m in _CONSOLE_SCRIPT.finditer(file.text)]
        else:
            continue
        for name, function in commands:
            module = project.find_module(folder, name)
            if module:
                found.append(Program(module, 1, kind_of_program(module.path), function))
    return found + [p for m in project.modules.values() for p in _predictors(m)]


def _predictors(module: Module) -> list[Program]:
    """A class that cog serves, by its base."""
    if "BasePredictor" not in module.text:
        return []
    return [
        Program(module, node.lineno, "inference", node.name)
        for node in module.tree.body
        if isinstance(node, ast.ClassDef)
        and any(dotted_text(b).split(".")[-1] == "BasePredictor" for b in node.bases)
    ]
