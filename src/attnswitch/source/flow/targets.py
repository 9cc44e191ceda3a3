"""What is assigned to: names, entries, attributes, and configurations among them."""

from __future__ import annotations

import ast
import re

from attnswitch.source import words
from attnswitch.source.flow.calls import Calls
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.families import families
from attnswitch.source.flow.local_copies import handed_on
from attnswitch.source.flow.reaching import family_of_a_patch
from attnswitch.source.flow.state import UNKNOWN, Frame, line_of
from attnswitch.source.flow.values import (
    ALWAYS,
    Bound,
    Choice,
    Class,
    Const,
    External,
    Function,
    Guard,
    Instance,
    Literal,
    Mapping,
    Row,
    Unknown,
    Value,
    apply,
    choose,
)
from attnswitch.source.mechanisms.patches import (
    bound_function,
    replaced_role,
    replacement_family,
    replaces_attention,
)
from attnswitch.source.project import dotted_text
from attnswitch.source.records import Line

#: What transformers runs only where FlashAttention is asked for: a class or its method, a function.
_CHOSEN_CLASS = re.compile(
    r"^transformers\.(?:.*FlashAttention2?(?:\.\w+)?|.*\._?flash_attention_forward)$"
)


class Targets(Calls):
    """Carries out assignments."""

    def assign(self, target: ast.AST, value: Value, source: ast.expr, frame: Frame) -> None:
        """Bind a value to a name, an attribute or an entry."""
        if isinstance(target, ast.Name):
            if target.id in frame.shared:
                self._assign_global(target.id, value, frame)
            else:
                frame.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            for index, inner in enumerate(target.elts):
                self.assign(inner, _item(value, index, len(target.elts)), source, frame)
        elif isinstance(target, ast.Subscript):
            self._assign_entry(target, value, frame)
        elif isinstance(target, ast.Attribute):
            self._assign_attribute(target, value, source, frame)

    def _assign_global(self, name: str, value: Value, frame: Frame) -> None:
        """A name of the module, set by a function: under conditions, the old value stays."""
        old = self.global_name(frame.module, name)
        guard = self.state.guard
        if guard:
            (one, *more) = guard
            otherwise = ALWAYS if more else frozenset({one.inverse()})
            value = choose([(guard, value), (otherwise, old)])
        self.set_global(frame.module, name, value)

    def _assign_entry(self, target: ast.Subscript, value: Value, frame: Frame) -> None:
        key = self.evaluate(target.slice, frame)
        if not isinstance(key, Const):
            return
        base = self.evaluate(target.value, frame)
        name = key.value
        made = value.function if isinstance(value, Bound) else value
        if isinstance(base, External) and isinstance(made, Class):
            self.state.registered.append(made.symbol)  # a table of models outside the tree
            return
        if dotted_text(target.value).endswith("environ") and isinstance(name, str):
            if isinstance(value, Const):
                self.state.variables.setdefault(name, str(value.value))
            return
        if isinstance(base, Choice) and any(isinstance(v, Mapping) for _, v in base.options):
            base = apply(base, lambda b: b if isinstance(b, Mapping) else Mapping(rest=True))
            base = apply(base, lambda b: b.put(name, value) if isinstance(b, Mapping) else b)
            self.assign(target.value, base, target, frame)
        elif isinstance(base, Mapping):
            self.assign(target.value, base.put(name, value), target, frame)
        elif isinstance(base, Unknown) and isinstance(target.value, ast.Name):
            frame.names[target.value.id] = Mapping(((name, value),), rest=True)
        elif isinstance(name, str) and isinstance(target.value, ast.Attribute):
            self.configured(name, value, target, dotted_text(target.value), frame)

    def _assign_attribute(
        self, target: ast.Attribute, value: Value, source: ast.expr, frame: Frame
    ) -> None:
        owner = self.evaluate(target.value, frame)
        if isinstance(owner, Instance):
            self.state.write(owner.symbol.key, target.attr, value)
            if isinstance(value, Instance):
                self.keep(owner.symbol, target.attr, value.symbol)
        else:
            self.state.write(dotted_text(target.value) + frame.function, target.attr, value)
        if replaces_attention(target, source):
            self._patched(target, source, frame)
            return
        if dotted_text(target.value) == "self" and not self.is_config(frame.klass):
            return
        self.configured(target.attr, value, target, dotted_text(target.value), frame)

    def _patched(self, target: ast.Attribute, source: ast.expr, frame: Frame) -> None:
        """Record what a replaced attention runs: by running it, else by the names around it."""
        name = ast.unparse(target)
        family = replacement_family(self.project, frame.module, source, name, frame.function)
        if family is None or "unpad" in name:
            return
        role = replaced_role(self.project, frame.module, target)
        where = line_of(frame, target)
        owner = self.evaluate(target.value, frame)
        patched = owner.dotted if isinstance(owner, External) else ""
        chosen = _where_chosen(f"{patched}.{target.attr}")
        model = family_of_a_patch(patched)
        runs = {(e.family, e.guard) for e in self._kernels_of(source, where, frame)}
        for kernel, guard in sorted(runs or {(family, ALWAYS)}, key=str):
            guard |= chosen
            self.state.record(Event("patch", kernel, where, role, guard, name, model=model))

    def _kernels_of(self, source: ast.expr, where: Line, frame: Frame) -> list[Event]:
        """The kernels that a function of the tree calls, each under the function's conditions."""
        function = self.evaluate(bound_function(source), frame)
        if not isinstance(function, Function):
            return []
        saved = self.state.events, self.state.guard
        self.state.events, self.state.guard = [], ALWAYS
        self.enter(function, ([], {}, True), where, follow=True)
        found = [e for e in self.state.events if e.kind == "call"]
        self.state.events, self.state.guard = saved
        return found

    def configured(self, name: str, value: Value, at: ast.AST, owner: str, frame: Frame) -> None:
        """Record a write to a configuration; it takes the place of what it overwrites."""
        if not (words.is_setting(name) or words.is_switch(name)):
            return
        if owner in {"self", "args"} and not words.is_setting(name):
            return
        if frame.body is not None and not handed_on(owner, frame.body):
            return
        what = f"{owner}.{name}"
        self._forget_overwritten(what, frame)
        role = self._owner_role(owner, frame)
        for family, guard, source in families(name, value):
            if family.startswith("asked:"):
                continue
            if owner.split(".")[0] in {"_C", "cfg", "_cfg"}:  # yacs: a default, not a decision
                held = Literal("config", name, "true", by_default=family == "flash")
                guard |= {held}
                family = "flash" if family == "off" else family
            event = Event("write", family, line_of(frame, at), role, guard, what, source)
            self.state.record(event)

    def _forget_overwritten(self, what: str, frame: Frame) -> None:
        """Drop writes to the same field that this one follows, unless a model was made between."""
        events = self.state.events
        last = max((i for i, e in enumerate(events) if e.kind in {"load", "call"}), default=-1)
        guard = self.state.guard
        self.state.events = events[: last + 1] + [
            e
            for e in events[last + 1 :]
            if not (
                e.kind == "write"
                and e.detail == what
                and e.at.path == frame.module.path
                and guard <= e.guard
            )
        ]

    def _owner_role(self, owner: str, frame: Frame) -> str:
        if "llm" in owner or "language" in owner:
            return "language_model"
        klass = frame.klass.dotted if frame.klass else ""
        role = words.role_of(owner) or words.role_of(klass) or words.role_of(frame.module.path)
        return role or "language_model"


def _where_chosen(name: str) -> Guard:
    """`LlamaFlashAttention2 = Own` matters where a model is asked for that class."""
    if _CHOSEN_CLASS.search(name):
        return frozenset({Literal("config", "_attn_implementation", "== 'flash_attention_2'")})
    return ALWAYS


def _item(value: Value, index: int, count: int) -> Value:
    """What one of `count` targets gets of a row, or of each row that the value may be."""

    def pick(row: Value) -> Value:
        return row.items[index] if isinstance(row, Row) and len(row.items) == count else UNKNOWN

    return apply(value, pick)
