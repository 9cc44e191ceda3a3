"""Options that the user can set: argparse and click flags, dataclass and config class fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.keywords import asked_family
from attnswitch.source.mechanisms.place import Place, constant, short
from attnswitch.source.project import dotted_text
from attnswitch.source.records import Finding

NODES = (ast.Call, ast.ClassDef)


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield a finding for each declared option that chooses a kernel."""
    if isinstance(node, ast.Call):
        yield from _flag(node, place)
    elif isinstance(node, ast.ClassDef) and is_options_class(node):
        yield from _fields(node, place)


def flag_name(node: ast.Call) -> str | None:
    """`--use-flash-attn` -> `use_flash_attn`, for a call that declares a command-line flag."""
    names = [constant(a) for a in node.args]
    for name in names:
        if isinstance(name, str) and name.startswith("--"):
            return name.lstrip("-").replace("-", "_")
    for name in names[:1]:
        if isinstance(name, str) and dotted_text(node.func).endswith("add_argument"):
            return name.lstrip("-").replace("-", "_")
    return None


def typed_flag(node: ast.Call) -> str:
    """The flag as it is typed, `--use-flash-attn`; "" if the call names none."""
    names = (constant(a) for a in node.args)
    return next((n for n in names if isinstance(n, str) and n.startswith("--")), "")


def option_choices(node: ast.Call) -> tuple[object, ...]:
    """The values that `add_argument(choices=[…])` accepts, empty if it does not say all of them."""
    for keyword in node.keywords:
        if keyword.arg == "choices" and isinstance(keyword.value, (ast.List, ast.Tuple, ast.Set)):
            values = tuple(constant(item) for item in keyword.value.elts)
            return () if ... in values else values
    return ()


def _flag(node: ast.Call, place: Place) -> Iterator[Finding]:
    if not node.args:
        return
    name = flag_name(node)
    if name is None or not (words.is_setting(name) or words.is_switch(name)):
        return
    flag = typed_flag(node) or name
    target = words.switch_target(name) if words.is_switch(name) else "flash"
    yield place.finding(
        node, "option", "offers", f"the command line chooses: {flag}{_default(node)}", target=target
    )


def _default(node: ast.Call) -> str:
    for keyword in node.keywords:
        if keyword.arg == "default":
            return f", {short(keyword.value, 30)} unless given"
        if keyword.arg == "action" and constant(keyword.value) in ("store_true", "store_false"):
            return ", off unless given" if constant(keyword.value) == "store_true" else ""
    return ""


def is_options_class(node: ast.ClassDef) -> bool:
    """True for dataclasses and for classes whose fields are settings by their names."""
    if any(
        "dataclass" in dotted_text(d) or "define" in dotted_text(d) for d in node.decorator_list
    ):
        return True
    bases = " ".join(dotted_text(b) for b in node.bases)
    return node.name.endswith(("Arguments", "Args", "Config", "Settings", "Options")) or any(
        word in bases for word in ("Arguments", "BaseModel", "BaseSettings", "NamedTuple")
    )


def _fields(node: ast.ClassDef, place: Place) -> Iterator[Finding]:
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            name, value = item.target.id, item.value
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            name, value = item.targets[0].id, item.value
        else:
            continue
        if not (words.is_setting(name) or words.is_switch(name)):
            continue
        default = field_default(value)
        text = f", {short(default, 30)} unless given" if default is not None else ""
        family = asked_family(name, default) if default is not None else None
        by_default = ": FlashAttention by default" if family == "flash" else ""
        target = words.switch_target(name) if words.is_switch(name) else "flash"
        yield place.finding(
            item,
            "option",
            "offers",
            f"field {node.name}.{name} chooses{text}{by_default}",
            target=target,
            role=words.role_of(name),
        )


def field_default(value: ast.expr | None) -> ast.expr | None:
    """The default of a dataclass field, with `field(default=…)` opened."""
    if isinstance(value, ast.Call) and dotted_text(value.func).split(".")[-1].lower() == "field":
        for keyword in value.keywords:
            if keyword.arg == "default":
                return keyword.value
        return value.args[0] if value.args else None
    return value
