"""Where a project keeps its options, seen from one line: which object to ask, where to add one."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from attnswitch.source.mechanisms.options import is_options_class
from attnswitch.source.project import Module, Project, Symbol, dotted_text
from attnswitch.source.walking import target_names

OPTION = "use_flash_attention"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class OptionsPlace:
    """A dataclass or a parser that can take the option, and the expression that reads it.

    `path` and `line` say where the option is added: the class, or the statement that parses.
    `statement_line` is the line of the parsing statement in the module that was asked about.
    """

    kind: str
    path: str
    line: int
    name: str
    read: str
    exists: bool
    style: str = ""
    statement_line: int | None = None


@dataclass(frozen=True)
class _Parsed:
    """A statement that parses options: the names it binds and what each holds."""

    node: ast.Assign
    names: tuple[str, ...]
    classes: tuple[Symbol | None, ...]
    parser: str | None


def find_options(
    project: Project, module: Module, node: ast.AST, line: int, inside: Function | None = None
) -> OptionsPlace | None:
    """The options that code at `node` can read, or None if it can read none."""
    function = inside or _function_around(module, node)
    if function is not None:
        for parsed in _parses(project, module, function):
            if parsed.node.lineno < line and parsed.node is not node:
                return _place(module, parsed, parsed.node.lineno)
        return _handed_in(project, module, function)
    for statement in module.tree.body:
        if statement.lineno >= line:
            break
        at_top = _parsed(project, module, statement, module.tree)
        if at_top is not None:
            return _place(module, at_top, statement.lineno)
    return None


def _function_around(module: Module, node: ast.AST) -> Function | None:
    line = getattr(node, "lineno", 0)
    best: Function | None = None
    for item in ast.walk(module.tree):
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and (
            (item.body[0].lineno <= line <= (item.end_lineno or 0))
            and (best is None or item.lineno > best.lineno)
        ):
            best = item
    return best


def _parses(project: Project, module: Module, function: Function) -> list[_Parsed]:
    found = [_parsed(project, module, s, function) for s in function.body]
    return [p for p in found if p is not None]


def _parsed(
    project: Project, module: Module, statement: ast.stmt, scope: ast.AST
) -> _Parsed | None:
    """A plain `args = parser.parse_args()` or `a, b = parser.parse_args_into_dataclasses()`."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        return None
    call = statement.value
    if not isinstance(call.func, ast.Attribute) or not isinstance(call.func.value, ast.Name):
        return None
    names = tuple(target_names(statement.targets[0]))
    parser = call.func.value.id
    if call.func.attr == "parse_args" and len(names) == 1:
        return _Parsed(statement, names, (None,), parser) if _argparse(scope, parser) else None
    if call.func.attr == "parse_args_into_dataclasses" and names:
        classes = _dataclasses(project, module, scope, parser)
        if len(classes) >= len(names):
            return _Parsed(statement, names, tuple(classes[: len(names)]), None)
    return None


def _assigned(scope: ast.AST, name: str) -> ast.Call | None:
    for node in ast.walk(scope):
        if (
            isinstance(node, ast.Assign)
            and name in target_names(node.targets[0])
            and isinstance(node.value, ast.Call)
        ):
            return node.value
    return None


def _argparse(scope: ast.AST, name: str) -> bool:
    made = _assigned(scope, name)
    return made is not None and dotted_text(made.func).split(".")[-1] == "ArgumentParser"


def _dataclasses(
    project: Project, module: Module, scope: ast.AST, name: str
) -> list[Symbol | None]:
    made = _assigned(scope, name)
    if made is None or not dotted_text(made.func).endswith("HfArgumentParser") or not made.args:
        return []
    items = made.args[0].elts if isinstance(made.args[0], (ast.Tuple, ast.List)) else made.args[:1]
    symbols = [project.resolve_dotted(module, item) for item in items]
    return [s if s is not None and s.kind == "class" else None for s in symbols]


def _place(module: Module, parsed: _Parsed, line: int) -> OptionsPlace | None:
    if parsed.parser is not None:
        exists = f"--{OPTION}" in module.text or "--use-flash-attention" in module.text
        read = f"{parsed.names[0]}.{OPTION}"
        return OptionsPlace(
            "argparse", module.path, line, parsed.parser, read, exists, statement_line=line
        )
    chosen = _preferred(parsed)
    if chosen is None:
        return None
    name, symbol = chosen
    assert symbol.module is not None and isinstance(symbol.node, ast.ClassDef)
    return OptionsPlace(
        "dataclass",
        symbol.module.path,
        symbol.node.lineno,
        symbol.node.name,
        f"{name}.{OPTION}",
        _has_field(symbol.node),
        _style(symbol.module),
        line,
    )


def _preferred(parsed: _Parsed) -> tuple[str, Symbol] | None:
    """The training arguments if there are any, then the model's, then any class of the tree."""
    usable = [
        (name, symbol)
        for name, symbol in zip(parsed.names, parsed.classes, strict=False)
        if symbol is not None
        and isinstance(symbol.node, ast.ClassDef)
        and is_options_class(symbol.node)
    ]
    for word in ("train", "model"):
        for name, symbol in usable:
            if word in symbol.dotted.lower():
                return name, symbol
    return usable[0] if usable else None


def _has_field(node: ast.ClassDef) -> bool:
    return any(isinstance(i, ast.AnnAssign) and ast.unparse(i.target) == OPTION for i in node.body)


def _style(module: Module) -> str:
    """How fields of the module are written: `field`, `dataclasses.field`, or a plain value."""
    for name in ("field", "dataclasses"):
        if name in module.bindings:
            return "field" if name == "field" else "dataclasses.field"
    return ""


def _handed_in(project: Project, module: Module, function: Function) -> OptionsPlace | None:
    """A parameter with the name of parsed options: read with a default, in case it is another."""
    parameters = [a.arg for a in (*function.args.args, *function.args.kwonlyargs)]
    for item in ast.walk(module.tree):
        if not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) or item is function:
            continue
        for parsed in _parses(project, module, item):
            place = _place(module, parsed, parsed.node.lineno)
            if place is None:
                continue
            name = place.read.split(".")[0]
            if name in parameters:
                read = f'getattr({name}, "{OPTION}", True)'
                return OptionsPlace(
                    place.kind, place.path, place.line, place.name, read, place.exists, place.style
                )
    return None
