"""Facts about the whole tree that every run of the interpreter shares."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from attnswitch.source import words
from attnswitch.source.configurations import model_configurations
from attnswitch.source.flow.composite import named_a_whole_model
from attnswitch.source.flow.quiet import Quiet
from attnswitch.source.flow.reaching import family_of_a_model
from attnswitch.source.flow.values import Chosen, Const, Unknown, Value
from attnswitch.source.mechanisms.options import (
    field_default,
    flag_name,
    is_options_class,
    typed_flag,
)
from attnswitch.source.mechanisms.place import constant, short
from attnswitch.source.project import Module, Project, Symbol, dotted_text
from attnswitch.source.records import Finding, Line
from attnswitch.source.walking import target_names

_LOADS = re.compile(
    r"from_pretrained|from_config|add_argument|parse_args|HfArgumentParser|ArgumentParser|Fire\("
    r"|Popen\(|subprocess\.|os\.system|fromfile\(|^eval\("
)
_LOADING = frozenset(
    {"from_pretrained", "from_config", "_from_config", "add_argument", "parse_args"}
    | {"HfArgumentParser", "remote"}
)
_GENERIC = frozenset(
    {"__init__", "forward", "__call__", "get", "run", "main", "update", "load", "build", "setup"}
    | {"add", "append", "__getitem__", "to", "reset", "step", "init", "create", "process", "apply"}
)


class Knowledge:
    """Options, config defaults, class hierarchies, and which functions are worth following."""

    def __init__(self, project: Project, findings: list[Finding]):
        self.project = project
        self.pin: tuple[int, int] | None = None
        self._options: dict[str, list[Chosen]] = {}
        self.config_defaults: dict[str, Value] = {}
        self._field_defaults: dict[str, set[Value]] = {}
        self.called_attributes: set[str] = set()
        self.methods: dict[str, list[tuple[Symbol, ast.AST]]] = {}
        self._fields: dict[tuple[tuple[str, int], str], Value | None] = {}
        self._ancestry: dict[tuple[str, int], list[Symbol]] = {}
        self._worth: dict[str, list[tuple[Symbol, ast.AST]]] = {}
        self._texts: dict[ast.AST, str] = {}
        self._families: dict[tuple[str, int], str] = {}
        direct = {(f.path, f.scope) for f in findings}
        self._interesting = self._follow(direct)

    @cached_property
    def configurations(self) -> list[Module]:
        """Python files that describe a model in a dictionary."""
        return model_configurations(self.project)

    @cached_property
    def quiet(self) -> Quiet:
        """The modules whose import changes nothing."""
        return Quiet(self.project, self.interesting)

    def text(self, node: ast.AST) -> str:
        """A test as it is written, cut for messages; kept, since every run asks again."""
        found = self._texts.get(node)
        if found is None:
            found = self._texts[node] = short(node, 70)
        return found

    def family(self, symbol: Symbol) -> str:
        """The family of transformers that a model class is built on, empty if that is open."""
        found = self._families.get(symbol.key)
        if found is None:
            found = family_of_a_model(self.project, self.ancestry(symbol))
            self._families[symbol.key] = found
        return found

    def since(self, *version: int) -> bool:
        """True if the project's transformers is that new, or not pinned."""
        return self.pin is None or self.pin >= version

    @property
    def falls_to_sdpa(self) -> bool:
        """False if the pin says that models without a setting compute attention eagerly."""
        return self.since(4, 36)

    # -- options ----------------------------------------------------------------------------

    def option(self, name: str, files: set[str]) -> Chosen | None:
        """The option of this name that one of these files declares, None if none does.

        Its default is unknown where the files do not agree.
        """
        found = [o for o in self._options.get(name, ()) if o.at is not None and o.at.path in files]
        if not found:
            return None
        agree = all(o.default == found[0].default for o in found)
        return found[0] if agree else replace(found[0], default=Unknown())

    def config_default(self, name: str) -> Value:
        """The default of a field of some configuration: of a constructor, else of dataclasses.

        Unknown where the dataclasses do not agree.
        """
        fields = self._field_defaults.get(name, set())
        agreed = next(iter(fields)) if len(fields) == 1 else Unknown()
        return self.config_defaults.get(name, agreed)

    def _note_option(self, module: Module, node: ast.Call) -> None:
        name = flag_name(node)
        if name and (words.is_setting(name) or words.is_switch(name)):
            where = Line(module.path, node.lineno)
            chosen = Chosen("option", name, flag_default(node), where, typed_flag(node))
            self._options.setdefault(name, []).append(chosen)

    def _note_class(self, module: Module, node: ast.ClassDef) -> bool:
        """Note methods, options and defaults of a class; True if options of attention are there."""
        symbol = Symbol("class", node.name, module, node)
        has_options = False
        for item in node.body:
            if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.methods.setdefault(item.name, []).append((symbol, item))
                if item.name == "__init__" and node.name.endswith("Config"):
                    self._note_defaults(item)
            elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                name = item.target.id
                if words.is_setting(name) or words.is_switch(name):
                    field = self.field(symbol, name)
                    if isinstance(field, Chosen):
                        has_options = True
                        self._options.setdefault(name, []).append(field)
                        if field.kind == "config" and isinstance(field.default, Const):
                            self._field_defaults.setdefault(name, set()).add(field.default)
        return has_options

    def _note_defaults(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = node.args.args[len(node.args.args) - len(node.args.defaults) :]
        for argument, default in zip(arguments, node.args.defaults, strict=False):
            name, value = argument.arg, constant(default)
            if (words.is_setting(name) or words.is_switch(name)) and value is not ...:
                self.config_defaults.setdefault(name, Const(value))

    def field(self, symbol: Symbol, name: str) -> Value | None:
        """A field of an options class as a value that the user chooses."""
        key = (symbol.key, name)
        if key not in self._fields:
            self._fields[key] = self._find_field(symbol, name)
        return self._fields[key]

    def _find_field(self, symbol: Symbol, name: str) -> Value | None:
        node = symbol.node
        if not isinstance(node, ast.ClassDef) or symbol.module is None:
            return None
        is_enum = any(dotted_text(b).split(".")[-1].endswith("Enum") for b in node.bases)
        for item in node.body:
            target = getattr(item, "target", None)
            if isinstance(item, ast.Assign):
                target = item.targets[0]
            if not (isinstance(target, ast.Name) and target.id == name):
                continue
            if is_enum:
                return Const(name, Line(symbol.module.path, item.lineno))
            default = field_default(getattr(item, "value", None))
            value = constant(default) if default is not None else ...
            known: Value = Const(value) if value is not ... else Unknown()
            if not is_options_class(node):
                return known
            where = Line(symbol.module.path, item.lineno)
            kind = "config" if node.name.endswith("Config") else "option"
            return Chosen(kind, name, known, where)
        return None

    def ancestry(self, symbol: Symbol) -> list[Symbol]:
        """A class and its bases in the tree, nearest first."""
        if symbol.key in self._ancestry:
            return self._ancestry[symbol.key]
        self._ancestry[symbol.key] = [symbol]
        found = [symbol]
        if isinstance(symbol.node, ast.ClassDef) and symbol.module is not None:
            for base in symbol.node.bases:
                parent = self.project.resolve_dotted(symbol.module, base)
                if parent is not None and parent.kind == "class":
                    found.extend(s for s in self.ancestry(parent) if s not in found)
        self._ancestry[symbol.key] = found
        return found

    # -- what is worth following --------------------------------------------------------------

    def interesting(self, symbol: Symbol) -> bool:
        """True if following a function or class can tell something about attention."""
        name = symbol.dotted
        path = symbol.module.path if symbol.module else ""
        owner, _, last = name.rpartition(".")
        keys = {(path, name), (path, last), (path, owner if last == "__init__" else name)}
        return not keys.isdisjoint(self._interesting)

    def methods_worth_following(self, name: str) -> list[tuple[Symbol, ast.AST]]:
        """Classes of the tree with an interesting method of this name."""
        if name not in self._worth:
            self._worth[name] = [
                (symbol, method)
                for symbol, method in self.methods.get(name, ())
                if self.interesting(Symbol("function", f"{symbol.dotted}.{name}", symbol.module))
            ]
        return self._worth[name]

    def _follow(self, direct: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Functions and classes from which a finding or a load can be reached, by name."""
        users: dict[str, set[tuple[str, str]]] = {}
        seeds: list[tuple[str, str]] = []
        for module in self.project.modules.values():
            for scope, names, loads in self._scopes(module):
                key = (module.path, scope)
                for name in names:
                    users.setdefault(name, set()).add(key)
                if loads or any(d == key or _inside(d, key) for d in direct if d[0] == key[0]):
                    seeds.append(key)
        reached, todo = set(seeds), list(seeds)
        while todo:
            path, scope = todo.pop()
            parts = scope.split(".") if scope else []
            called = [n for n in parts[-1:] if n not in _GENERIC]
            if len(parts) > 1:
                called.append(parts[-2])
                parent = (path, parts[-2])
                if parent not in reached:
                    reached.add(parent)
                    todo.append(parent)
            near = [n for n in parts if len(parts) == 1 and n in _GENERIC]  # in its own file
            for name in (*called, *near):
                for user in users.get(name, ()):
                    if user not in reached and (name not in near or user[0] == path):
                        reached.add(user)
                        todo.append(user)
        return reached

    def _scopes(self, module: Module) -> list[tuple[str, set[str], bool]]:
        found: list[tuple[str, set[str], bool]] = []

        def enter(node: ast.AST, prefix: str) -> None:
            for item in ast.iter_child_nodes(node):
                if isinstance(item, ast.ClassDef):
                    has_options = self._note_class(module, item)
                    bases = {dotted_text(b).split(".")[-1] for b in item.bases}
                    found.append((item.name, bases, has_options))
                    enter(item, item.name)
                elif isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    name = f"{prefix}.{item.name}" if prefix else item.name
                    found.append((name, *self._mentioned(module, item)))
                elif isinstance(item, (ast.If, ast.Try, ast.With, ast.For)):
                    enter(item, prefix)
                    self._mentioned(module, item)
                elif isinstance(item, ast.stmt):
                    names, _loads = self._mentioned(module, item)
                    found.extend((table, names, False) for table in _tables(item))

        enter(module.tree, "")
        return found

    def _mentioned(self, module: Module, node: ast.AST) -> tuple[set[str], bool]:
        found = self.project.mentions(node)
        attributes = {a.attr for a in found.attributes}
        names = {n.id for n in found.names} | attributes
        loads = bool(attributes & _LOADING)
        for call in found.calls:
            name = dotted_text(call.func)
            if isinstance(call.func, ast.Attribute):
                self.called_attributes.add(call.func.attr)
            loads = loads or bool(_LOADS.search(name + "("))
            loads = loads or named_a_whole_model(name.split(".")[-1])
            if call.args and ("arg" in name or name.endswith("option")):
                self._note_option(module, call)
        return names, loads


def _tables(node: ast.stmt) -> Iterator[str]:
    """The name of a dictionary that a statement writes out: its rows may be models."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Dict):
        yield from target_names(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])


def _inside(found: tuple[str, str], scope: tuple[str, str]) -> bool:
    return bool(scope[1]) and (found[1] + ".").startswith(scope[1] + ".")


def flag_default(node: ast.Call) -> Value:
    """The value of a command-line flag that is not given."""
    action = None
    for keyword in node.keywords:
        if keyword.arg == "default":
            value = constant(keyword.value)
            return Const(value) if value is not ... else Unknown()
        if keyword.arg == "action":
            action = constant(keyword.value)
    if action == "store_true":
        return Const(False)
    if action == "store_false":
        return Const(True)
    return Const(None)
