"""Monkey patches: attention replaced from outside, and the calls that do it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.place import Place, constant
from attnswitch.source.project import Module, Project, Symbol, dotted_text
from attnswitch.source.records import Finding

NODES = (ast.Assign, ast.Call)
_ATTENTION = re.compile(r"attn|attention|flash|xformers|sdpa|scaled_dot", re.IGNORECASE)
_DOTTED = re.compile(r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")
_HOOKS = {"forward", "__call__", "_attn", "__init__"}
_MASKS = re.compile(r"_prepare_decoder_attention_mask|_update_causal_mask|_get_unpad_data")
_KERNEL_NAMES = re.compile(
    r"^(?:_?flash_attention_forward|flash_attn_\w*func|_flash_attn\w*|scaled_dot_product_attention"
    r"|_get_unpad_data|\w*memory_efficient_attention\w*)$"
)
_KERNEL = re.compile(
    r"flash|xformers|xattn|memory_efficient|scaled_dot_product|sdpa|_sdp", re.IGNORECASE
)
_CLASS = re.compile(r"^[A-Z]\w*(?:Attention|Attn)\w*$")
_APPLY = re.compile(
    r"^(?:replace|substitute|patch|apply|enable|monkey_?patch|inject|convert|use)_?\w*"
    r"(?:attn|attention|flash|xformers)",
    re.IGNORECASE,
)
_REPLACE = re.compile(
    r"^(?:replace|substitute|patch)_\w*(?:attn|attention)_with_\w*(?:flash|xformers|xattn)",
    re.IGNORECASE,
)


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield a finding for a replaced attention, and for the statement that replaces it."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Attribute) and replaces_attention(target, node.value):
                yield from _patch(node, ast.unparse(target), node.value, place)
    elif isinstance(node, ast.Call):
        if dotted_text(node.func) == "setattr" and len(node.args) == 3:
            name = constant(node.args[1])
            if isinstance(name, str):
                target = ast.Attribute(node.args[0], name, ast.Store())
                if replaces_attention(target, node.args[2]):
                    yield from _patch(node, ast.unparse(target), node.args[2], place)
        elif _by_name(node) is not None:
            yield from _patch(node, str(constant(node.args[0])), node.args[1], place)
        else:
            yield from _applied(node, place)


def _by_name(node: ast.Call) -> ast.Attribute | None:
    """The target of `register_patch("package.Attention.forward", f)`, if attention is replaced."""
    if len(node.args) < 2 or "patch" not in dotted_text(node.func).lower():
        return None
    name = constant(node.args[0])
    if not isinstance(name, str) or not _DOTTED.match(name):
        return None
    target = ast.parse(name, mode="eval").body
    if isinstance(target, ast.Attribute) and replaces_attention(target, node.args[1]):
        return target
    return None


def _replaceable(name: str) -> bool:
    """True if an attribute of that name may hold attention."""
    return (
        name in _HOOKS
        or (name.startswith("_") and "attn" in name)
        or any(p.search(name) for p in (_CLASS, _MASKS, _KERNEL_NAMES))
    )


def replaces_attention(target: ast.Attribute, value: ast.expr) -> bool:
    """True if `target = value` puts another attention in place of a class's or module's."""
    bound = isinstance(value, ast.Call)
    value = bound_function(value)
    if isinstance(value, (ast.Constant, ast.Call)) or dotted_text(target.value) in {"self", "cls"}:
        return False
    base, name = dotted_text(target.value), target.attr
    if _MASKS.search(name) or _KERNEL_NAMES.match(name):
        return not base.startswith("self.")
    if name in _HOOKS or (name.startswith("_") and "attn" in name):
        text = f"{base.split('.')[-1]} {ast.unparse(value)}"
        if bound and name == "forward" and _ATTENTION.search(dotted_text(value).split(".")[-1]):
            return True  # module.forward = MethodType(llama_attn_forward, module)
        return bool(_ATTENTION.search(text)) and bool(re.search(r"[A-Z]|attn", base))
    return bool(_CLASS.match(name)) and bool(base) and not base.startswith("self")


def bound_function(value: ast.expr) -> ast.expr:
    """The function in `MethodType(f, x)`, `partial(f, …)` or `f.__get__(x)`; else the value."""
    if isinstance(value, ast.Call):
        if dotted_text(value.func).split(".")[-1] in {"MethodType", "partial"} and value.args:
            return value.args[0]
        if isinstance(value.func, ast.Attribute) and value.func.attr == "__get__":
            return value.func.value
    return value


def _patch(node: ast.AST, target: str, value: ast.expr, place: Place) -> Iterator[Finding]:
    kind = replacement_family(place.project, place.module, value, target, place.scope)
    if kind is None:
        return
    if "unpad" in target:
        yield place.finding(
            node,
            "varlen-packing",
            "requires",
            f"replaces {target}, which only FlashAttention on packed sequences asks",
            role=words.role_of(target),
        )
        return
    yield place.finding(
        node,
        "xformers" if kind == "xformers" else "monkey-patch",
        "enables",
        f"replaces {target} {_reach(target)}{_by(value)}",
        target=kind,
        role=words.role_of(target),
    )


def _by(value: ast.expr) -> str:
    name = dotted_text(bound_function(value)).split(".")[-1]
    return f" by {name}" if name and name != "forward" else ""


def _reach(target: str) -> str:
    owner = target.rpartition(".")[0].split(".")[-1]
    of_an_object = owner.islower() and not owner.startswith("modeling") and owner != "F"
    return "in one model" if of_an_object else "for the whole process"


def replacement_family(
    project: Project, module: Module, value: ast.expr, target: str, scope: str
) -> str | None:
    """The kernel that a replacement brings; None if it has nothing to do with one."""
    value = bound_function(value)
    symbol = project.resolve_anywhere(module, value)
    text = f"{target} {ast.unparse(value)} {module.path} {scope}"
    if symbol is not None and symbol.module is not None and symbol.node is not None:
        text += f" {symbol.module.path} {ast.unparse(symbol.node)}"
        if not _KERNEL.search(text):
            return None
    elif _MASKS.search(target) and not _KERNEL.search(text):
        return None
    return patch_target(text)


def replaced_role(project: Project, module: Module, target: ast.Attribute) -> str:
    """The part of a model whose attention a patch replaces, by the names around it."""
    symbol = project.resolve_anywhere(module, target.value)
    for text in (ast.unparse(target), symbol.dotted if symbol else "", module.path):
        role = words.role_of(text)
        if role is not None:
            return role
    return "language_model"


def patch_target(text: str) -> str:
    """Which kernel a patch brings, read off the names around it."""
    low = text.lower()
    if "xformers" in low or "xattn" in low:
        return "xformers"
    if "flash" not in low and ("sdpa" in low or "scaled_dot" in low or "_sdp" in low):
        return "sdpa"
    return "flash"


def _applied(node: ast.Call, place: Place) -> Iterator[Finding]:
    name = dotted_text(node.func).split(".")[-1]
    if not name or not isinstance(node.func, (ast.Name, ast.Attribute)):
        return
    symbol = place.project.resolve_anywhere(place.module, node.func)
    patching = (
        symbol is not None
        and symbol.kind == "function"
        and (_patches(place.project, symbol) or (_named_so(name) and _replaces_a_forward(symbol)))
    )
    elsewhere = symbol is not None and symbol.kind == "external" and replaces_by_name(name)
    unknown = elsewhere or (symbol is None and _APPLY.match(name))
    if not patching and not (unknown and _statement(node, place)):
        return
    where = f" ({symbol.module.path})" if symbol and symbol.module else ""
    kind = patch_target(f"{name} {symbol.module.path if symbol and symbol.module else ''}")
    yield place.finding(
        node,
        "xformers" if kind == "xformers" else "monkey-patch",
        "enables",
        f"calls {name}{where}, which replaces attention for the whole process",
        target=kind,
        fixed=kind == "flash" and not place.tests(node) and patching,
    )


def _statement(node: ast.Call, place: Place) -> bool:
    return bool(place.parents) and isinstance(place.parents[-1], ast.Expr)


def replaces_by_name(name: str) -> bool:
    """True for `replace_llama_attn_with_flash_attn` and the like, which the tree may not define."""
    return bool(_REPLACE.match(name))


def _named_so(name: str) -> bool:
    return bool(_APPLY.match(name)) and bool(_KERNEL.search(name))


def _replaces_a_forward(symbol: Symbol) -> bool:
    """`LlamaDecoderLayer.forward = …` in a function whose name says that it brings a kernel."""
    assert symbol.node is not None
    return any(
        isinstance(target, ast.Attribute) and target.attr == "forward"
        for node in ast.walk(symbol.node)
        if isinstance(node, ast.Assign)
        for target in node.targets
    )


def _patches(project: Project, symbol: Symbol) -> bool:
    assert symbol.node is not None and symbol.module is not None
    if not any(_replaceable(a.attr) for a in project.mentions(symbol.node).attributes):
        return False
    for node in ast.walk(symbol.node):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and replaces_attention(target, node.value):
                    name = ast.unparse(target)
                    kind = replacement_family(
                        project, symbol.module, node.value, name, symbol.dotted
                    )
                    if kind is not None:
                        return True
    return False
