"""Keyword arguments, dictionary entries and defaults that carry the choice of a kernel."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from attnswitch.source import words
from attnswitch.source.mechanisms.place import Place, availability_test, constant, short
from attnswitch.source.project import dotted_text
from attnswitch.source.records import Finding

_CLASS = re.compile(r"^[A-Z]\w*[a-z]\w*(?:Attention|Attn)\w*$")
_ENUMERATION = re.compile(r"(?:Backend|Impl|Implementation|Type)$")

NODES = (ast.Call, ast.Dict, ast.FunctionDef, ast.AsyncFunctionDef)
_READS = {"get", "pop", "setdefault"}
_DECLARES = {"add_argument", "option", "Option", "field", "Field", "getattr", "hasattr", "Argument"}


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield findings for calls, dictionaries and parameter defaults.

    A dictionary that is itself the default of a parameter asks for nothing: callers give another.
    """
    if isinstance(node, ast.Call):
        yield from _call(node, place)
    elif isinstance(node, ast.Dict) and not isinstance(place.parents[-1], ast.arguments):
        for key, value in zip(node.keys, node.values, strict=False):
            name = constant(key)
            if key is not None and isinstance(name, str) and name.isidentifier():
                yield from setting(key, name, value, place, "entry")
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield from _parameters(node, place)


def _call(node: ast.Call, place: Place) -> Iterator[Finding]:
    function = dotted_text(node.func).split(".")[-1]
    if function not in _DECLARES:
        for keyword in node.keywords:
            if keyword.arg:
                yield from setting(keyword, keyword.arg, keyword.value, place, "keyword", node)
    yield from _positional(node, place)
    if function in _READS and node.args:
        name = constant(node.args[0])
        if isinstance(name, str) and len(node.args) > 1 and not _environment(node):
            yield from _read(node, name, node.args[1], place)
    if function == "getattr" and len(node.args) == 3:
        name = constant(node.args[1])
        if isinstance(name, str):
            yield from _read(node, name, node.args[2], place)
    if function in {"set_attn_implementation", "set_attention_implementation"} and node.args:
        yield from setting(node, "attn_implementation", node.args[0], place, "keyword", node)


def _read(node: ast.Call, name: str, default: ast.expr, place: Place) -> Iterator[Finding]:
    """A read with a default: in a test, `if kwargs.get("use_flash_attn", False)` asks nothing."""
    chain = [*place.parents, node]
    tested = any(
        isinstance(parent, (ast.If, ast.IfExp, ast.While)) and child is parent.test
        for parent, child in pairwise(chain)
    )
    if not (tested and asked_family(name, default) in {"off", "default"}):
        yield from setting(node, name, default, place, "default")


def _positional(node: ast.Call, place: Place) -> Iterator[Finding]:
    """`train("flash_attention_2")`: the name of the parameter is in the function."""
    for index, item in enumerate(node.args):
        value = constant(item)
        if not isinstance(value, str) or words.family_of(value) != "flash" or "_" not in value:
            continue
        symbol = place.project.resolve_dotted(place.module, node.func)
        if symbol is None or not isinstance(symbol.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        names = [a.arg for a in symbol.node.args.args]
        if index < len(names) and words.is_setting(names[index]):
            if overruled_in(symbol.node, names[index]):
                continue
            yield from setting(item, names[index], item, place, "keyword")


def _environment(node: ast.Call) -> bool:
    return "environ" in dotted_text(node.func)


def setting(
    at: ast.AST,
    name: str,
    value: ast.expr,
    place: Place,
    form: str,
    call: ast.Call | None = None,
) -> Iterator[Finding]:
    """Judge one `name = value` pair, however it is written.

    `form` is "keyword", "entry" (of a dictionary), "default", "write" (an attribute) or
    "variable".
    """
    if not (words.is_setting(name) or words.is_switch(name)):
        return
    if form != "keyword" and not _plausible(value):
        return
    if form == "default" and constant(value) in (None, ""):
        return  # reads what somebody else set, and asks for nothing
    if form == "entry" and _is_a_class(value):
        return  # a table of implementations, reported as one
    if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or):
        form, value = "default", value.values[-1]  # what is taken where the rest is empty
        if asked_family(name, value) != "flash":
            return
    mechanism = mechanism_of(name)
    family = asked_family(name, value)
    target = "flash" if family in {"flash", "off", None} else family
    if family in {"eager", "default", "triton"}:
        target = "flash"
    receiver = dotted_text(call.func) if call else ""
    more: dict[str, object] = {"target": target, "role": words.role_of(receiver or name)}
    effect, message = _effect(name, value, family)
    if form == "default" and effect == "enables":
        message = f"takes {name}={short(value)} where nothing else is said"
        effect = "offers"
    if importable_choice(value):
        yield place.finding(
            at, "on-if-importable", "enables", f"{name} depends on what is installed", **more
        )
        return
    literal = family == "flash" and effect == "enables" and constant(value) is not ...
    more["fixed"] = (
        literal and not chosen_above(at, place) and not _only_a_default(name, call, place)
    )
    more["value"] = value
    more["trap"] = _legacy_trap(name) or _fallback(at, place, effect, call)
    yield place.finding(at, mechanism, effect, message, **more)


def chosen_above(at: ast.AST, place: Place) -> bool:
    """True if a test around the node asks an option or what is installed: nothing is fixed."""
    for test, _ in place.tests(at):
        if availability_test(test):
            return True
        for node in ast.walk(test):
            name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
            value = constant(node)
            for word in (name, value if isinstance(value, str) else ""):
                if words.is_setting(word) or words.is_switch(word) or words.VARIABLE.search(word):
                    return True
    return False


def _only_a_default(name: str, call: ast.Call | None, place: Place) -> bool:
    """True if the called function lets an option overrule what it is given here."""
    symbol = place.project.resolve_dotted(place.module, call.func) if call else None
    if symbol is None or not isinstance(symbol.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    return overruled_in(symbol.node, name)


def overruled_in(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    """True if a function sets its parameter `name` anew where an option says so."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and words.SWITCH.search(ast.unparse(node.test)):
            for inner in node.body:
                if isinstance(inner, ast.Assign) and ast.unparse(inner.targets[0]) == name:
                    return True
    return False


def mechanism_of(name: str) -> str:
    """The mechanism that a setting of this name belongs to."""
    if name in words.LEGACY:
        return "legacy-keyword"
    return "keyword" if words.is_setting(name) else "own-boolean"


def asked_family(name: str, value: ast.expr) -> str | None:
    """The family that a constant value asks for; None if the value is no constant."""
    plain = constant(value)
    if isinstance(value, ast.Attribute) and _ENUMERATION.search(dotted_text(value.value)):
        plain = value.attr  # AttnBackend.flash
    if plain is ...:
        return None
    if words.is_setting(name):
        if isinstance(plain, bool):
            return "flash" if plain else "off"
        return words.family_of(plain)
    return words.switch_family(name, plain)


def importable_choice(value: ast.expr) -> bool:
    """True for `"flash_attention_2" if available() else …`."""
    if not isinstance(value, ast.IfExp) or not availability_test(value.test):
        return False
    return any(
        words.family_of(constant(n)) == "flash" or constant(n) is True
        for n in (value.body, value.orelse)
    )


def _plausible(value: ast.expr) -> bool:
    """Layers, tensors and functions that happen to be called flash_attn are no settings."""
    if isinstance(value, ast.Constant):
        return value.value is None or isinstance(value.value, (bool, str, int))
    return not isinstance(value, (ast.Lambda, ast.List, ast.ListComp, ast.JoinedStr, ast.BinOp))


def _is_a_class(value: ast.expr) -> bool:
    name = dotted_text(value).split(".")[-1] if isinstance(value, (ast.Name, ast.Attribute)) else ""
    return bool(_CLASS.match(name))


def _effect(name: str, value: ast.expr, family: str | None) -> tuple[str, str]:
    text = short(value, 40)
    if name in words.LEGACY and family in {"flash", "off"}:
        note = "; transformers stopped reading it in 4.36" if family == "off" else ""
        return ("enables" if family == "flash" else "forbids"), f"{name}={text}{note}"
    if family == "flash":
        return "enables", f"asks for FlashAttention: {name}={text}"
    if family == "triton":
        return "enables", f"asks for MPT's FlashAttention in Triton: {name}={text}"
    if family == "xformers":
        return "enables", f"asks for xformers: {name}={text}"
    if family == "sdpa":
        return "enables", f"asks for SDPA, which may still run FlashAttention: {name}={text}"
    if family in {"eager", "off"}:
        return "forbids", f"asks for no FlashAttention: {name}={text}"
    if family == "default":
        return "passes", f"leaves the choice to the library: {name}={text}"
    return "passes", f"hands on a choice: {name}={text}"


def _legacy_trap(name: str) -> str | None:
    return "ignored since transformers 4.36" if name == "use_flash_attention_2" else None


def _fallback(at: ast.AST, place: Place, effect: str, call: ast.Call | None) -> str | None:
    """A try around the load whose handler loads again in another way, and says nothing."""
    if effect != "enables":
        return None
    for node in place.tries(at) or [p for p in place.parents if isinstance(p, ast.Try)]:
        for handler in node.handlers:
            again = _called(handler.body)
            repeats = call is not None and dotted_text(call.func).split(".")[-1] in again
            if ("from_pretrained" in again or repeats) and not any(
                isinstance(s, ast.Raise) for s in handler.body
            ):
                return "silent fallback"
    return None


def _called(body: list[ast.stmt]) -> set[str]:
    """The last names of everything that statements call."""
    return {
        dotted_text(n.func).split(".")[-1]
        for s in body
        for n in ast.walk(s)
        if isinstance(n, ast.Call)
    }


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, place: Place) -> Iterator[Finding]:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = list(
        zip(
            positional[len(positional) - len(arguments.defaults) :],
            arguments.defaults,
            strict=False,
        )
    )
    pairs += [
        (a, d)
        for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=False)
        if d is not None
    ]
    for argument, default in pairs:
        name = argument.arg
        if not (words.is_setting(name) or words.is_switch(name)):
            continue
        family = asked_family(name, default)
        trap = None if _used(node, name) else "flag accepted but dropped"
        message = f"takes {name}, {short(default, 30)} unless told otherwise"
        if trap:
            message += ", and never looks at it"
        target = words.switch_target(name) if words.is_switch(name) else "flash"
        found = place.finding(
            argument, mechanism_of(name), "offers", message, trap=trap, target=target
        )
        if family == "flash":
            found.message += ": FlashAttention by default"
            found.value = default
        yield found


def _used(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    body = function.body
    if all(isinstance(s, (ast.Pass, ast.Expr, ast.Raise)) for s in body) and len(body) < 3:
        return True
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id in {name, "locals"}:
                return True
    return False
