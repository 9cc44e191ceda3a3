"""Calls that run a kernel or choose among PyTorch's, and modules built around one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.place import Place, short
from attnswitch.source.project import Symbol, dotted_text
from attnswitch.source.records import Finding

NODES = (ast.Call,)
FLASH_CLASS = re.compile(
    r"^Flash(?:Self|Cross|Causal)?(?:Attention|MHA|Attn)\w*$|^\w*FlashSelfAtt\w*$"
    r"|^[A-Z]\w*Flash(?:Attention|Attn)\d?$"
)
_PADDING = {"unpad_input", "pad_input", "index_first_axis"}


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield a finding for a call of a kernel or of a kernel switch."""
    assert isinstance(node, ast.Call)
    dotted = dotted_text(node.func)
    name = dotted.split(".")[-1]
    if not name or isinstance(node.func, (ast.Call, ast.Subscript)):
        return
    if name == "apply" and FLASH_CLASS.match(dotted.split(".")[-2] if "." in dotted else ""):
        if not isinstance(node.func, ast.Attribute) or not runs_flash(place, node.func.value):
            return
        yield place.finding(node, "flash-call", "calls", f"runs FlashAttention: {dotted}")
    elif words.kernel_called(dotted) == "sdpa":
        if defined_here(place.project.resolve_dotted(place.module, node.func)):
            return
        yield place.finding(
            node,
            "sdpa-call",
            "calls",
            "calls PyTorch's SDPA, which picks its own kernel, FlashAttention among them",
            target="sdpa",
            role=words.role_of(place.module.path),
        )
    elif name in words.TOGGLES:
        yield _toggle(node, name, place)
    elif words.kernel_called(dotted) == "xformers":
        yield place.finding(node, "xformers", "calls", f"runs {dotted}", target="xformers")
    elif name in {"to_bettertransformer", "BetterTransformer"}:
        yield place.finding(
            node, "sdpa-call", "enables", "turns attention into SDPA calls", target="sdpa"
        )
    else:
        yield from _flash(node, dotted, name, place)


def defined_here(symbol: Symbol | None) -> bool:
    """True for a function of the tree: what it calls itself is found where it stands."""
    return symbol is not None and symbol.kind == "function"


def runs_flash(place: Place, node: ast.expr) -> bool:
    """False for a class of the tree that bears such a name and calls no kernel."""
    symbol = place.project.resolve_dotted(place.module, node)
    if symbol is None or not isinstance(symbol.node, ast.ClassDef):
        return True
    if any(FLASH_CLASS.match(dotted_text(b).split(".")[-1]) for b in symbol.node.bases):
        return True
    called = (dotted_text(c.func) for c in place.project.mentions(symbol.node).calls)
    return any(words.kernel_called(name) == "flash" or "kernel" in name for name in called)


def _flash(node: ast.Call, dotted: str, name: str, place: Place) -> Iterator[Finding]:
    local = _bound_to(node.func, place)
    if words.kernel_called(name) == "flash" or _kernel_name(local):
        packed = bool(words.VARLEN.search(name + " " + local))
        message = f"runs FlashAttention: {dotted}"
        if packed:
            message += ", on packed sequences, which standard attention in transformers cannot take"
        yield place.finding(
            node,
            "varlen-packing" if packed else "flash-call",
            "calls",
            message,
            role=words.role_of(place.module.path),
        )
    elif (FLASH_CLASS.match(name) and runs_flash(place, node.func)) or _kernel_class(local):
        yield place.finding(
            node,
            "flash-call",
            "calls",
            f"builds a module that runs FlashAttention: {short(node.func)}",
            role=words.role_of(place.module.path),
        )


def _bound_to(node: ast.expr, place: Place) -> str:
    """The dotted name in flash_attn or xformers that an imported name stands for."""
    symbol = place.project.resolve_dotted(place.module, node)
    if (
        symbol is not None
        and symbol.kind == "external"
        and words.package_target(symbol.dotted) == "flash"
    ):
        return symbol.dotted
    return ""


def _kernel_name(dotted: str) -> bool:
    name = dotted.split(".")[-1]
    return words.kernel_called(name) == "flash" and name not in _PADDING


def _kernel_class(dotted: str) -> bool:
    name = dotted.split(".")[-1]
    return bool(re.match(r"^(?:MHA|ParallelMHA|FlashAttention|FlashMHA|FlashSelfAttention)$", name))


def _toggle(node: ast.Call, name: str, place: Place) -> Finding:
    text = short(node, 80)
    allows = re.search(r"enable_flash(?:_sdp)?(?:=|\()\s*(True|False)", text)
    off = allows is not None and allows.group(1) == "False"
    if name == "sdpa_kernel":
        off = "FLASH" not in text.upper()
    return place.finding(
        node,
        "sdp-toggle",
        "forbids" if off else "offers",
        f"chooses among the kernels of PyTorch's SDPA: {text}",
        target="sdpa",
    )
