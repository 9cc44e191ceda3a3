"""Functions outside the tree: environment, package tests, kernels."""

# ruff: noqa: N802 - handlers are named after the functions they stand for
from __future__ import annotations

import ast

from attnswitch.source import words
from attnswitch.source.flow import strings
from attnswitch.source.flow import truth as truths
from attnswitch.source.flow.commands import STARTS, commands
from attnswitch.source.flow.composite import MODELS_ARE_WHOLE, asked_in, is_a_whole_model
from attnswitch.source.flow.described import READS_CONFIGURATION
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.expressions import Expressions
from attnswitch.source.flow.machine import Given
from attnswitch.source.flow.reaching import family_by_name
from attnswitch.source.flow.state import UNKNOWN, Frame, line_of
from attnswitch.source.flow.values import (
    ALWAYS,
    Available,
    Bound,
    Choice,
    Chosen,
    Class,
    Const,
    External,
    Function,
    Instance,
    Literal,
    Loaded,
    Mapping,
    ModuleValue,
    Parser,
    Row,
    Super,
    Template,
    Unknown,
    Value,
    alternatives,
    apply,
)
from attnswitch.source.mechanisms.calls import FLASH_CLASS
from attnswitch.source.mechanisms.patches import patch_target, replaces_by_name
from attnswitch.source.named_modules import modules_named
from attnswitch.source.project import Module
from attnswitch.source.records import Line

#: The loading function of this family, where another package brings it.
_LOADER = "load_pretrained_model"
_PACKAGE_TESTS = {"find_spec", "is_package_available", "_is_package_available", "find_loader"}


class Outside(Expressions):
    """Evaluates calls of functions that the tree does not define."""

    def _external(self, dotted: str, node: ast.Call, arguments: Given, frame: Frame) -> Value:
        name = dotted.split(".")[-1]
        positional, keywords, _ = arguments
        text = self._text_function(dotted, name, positional)
        if text is not None:
            return text
        if READS_CONFIGURATION.search(dotted):
            self.run_configurations()
            return Unknown(dotted)
        self._start(dotted, arguments)
        if replaces_by_name(name):
            at = line_of(frame, node)
            family = family_by_name(name)
            self.state.record(Event("patch", patch_target(name), at, detail=dotted, model=family))
        known = getattr(self, f"_call_{name}", None)
        if known is not None:
            result = known(dotted, node, positional, keywords, frame)
            if result is not None:
                return result
        if name.endswith(("ArgumentParser", "FlexibleArgumentParser")) and "Hf" not in name:
            return self._new_parser(node, keywords, frame)
        if name in words.AVAILABILITY:
            return Available("xformers" if "xformers" in name else "flash_attn")
        if name in _PACKAGE_TESTS and positional and isinstance(positional[0], Const):
            target = words.package_target(str(positional[0].value))
            return Available(str(positional[0].value)) if target else UNKNOWN
        self._tower_inside(dotted, node, arguments, frame)
        self._kernel(dotted, node, frame)
        self._callbacks(arguments, line_of(frame, node))
        if isinstance(node.func, ast.Attribute):
            return self._by_name(name, node, arguments, frame) if "." not in dotted else UNKNOWN
        if any(words.is_setting(k) for k in keywords) or name == _LOADER:
            role = self._role(name, node, frame)
            self._record_load(node, keywords, name, role, frame)
        return Unknown(dotted)

    def _start(self, dotted: str, arguments: Given) -> None:
        """Note the command that a call starts, if it starts one."""
        positional, keywords, _ = arguments
        if STARTS.search(dotted) and (positional or "args" in keywords):
            given = positional[0] if positional else keywords["args"]
            self.state.started.extend(
                (self.state.outer | self.state.guard | guard, command)
                for guard, command in commands(given)
            )

    def _text_function(self, dotted: str, name: str, positional: list[Value]) -> Value | None:
        if dotted.startswith(strings.METHOD_OF):
            return strings.method(positional[0], name, positional[1:]) or UNKNOWN
        return strings.path_function(name, positional) if "path." in dotted else None

    def _new_parser(self, node: ast.Call, keywords: dict[str, Value], frame: Frame) -> Parser:
        parser = Parser(line_of(frame, node))
        options = self.state.options.setdefault(parser.at, {})
        parents = keywords.get("parents")
        for parent in parents.items if isinstance(parents, Row) else ():
            if isinstance(parent, Parser):
                options.update(self.state.options.get(parent.at, {}))
        return parser

    def _tower_inside(self, dotted: str, node: ast.Call, arguments: Given, frame: Frame) -> None:
        """`self.model = Qwen2VLModel(config)`: its tower follows what the configuration holds."""
        if not is_a_whole_model(dotted) or not self.knowledge.since(*MODELS_ARE_WHOLE):
            return
        asked = asked_in(arguments[0][0]) if arguments[0] else None
        if asked is not None:
            name = dotted.split(".")[-1]
            keywords = {"attn_implementation": asked}
            self._record_load(node, keywords, name, "vision_tower", frame)

    def _kernel(self, dotted: str, node: ast.Call, frame: Frame) -> None:
        """Record a call that runs a kernel."""
        family = words.kernel_called(dotted)
        if family is None and FLASH_CLASS.match(dotted.split(".")[-1]):
            family = "flash"
        if family is not None:
            role = self._kernel_role(frame)
            self.state.record(Event("call", family, line_of(frame, node), role, ALWAYS, dotted))

    def _kernel_role(self, frame: Frame) -> str:
        """The role of a kernel call: from its own module and class, else from its callers."""
        names = [frame.klass.dotted] if frame.klass else []
        names.append(frame.module.path.rsplit("/", 1)[-1])
        names += [key[0][0].rsplit("/", 1)[-1] for key in reversed(self.state.running)]  # type: ignore[index]
        names.append(self.state.maker.rsplit("/", 1)[-1])
        for name in [*names, frame.module.path]:
            role = words.role_of(name)
            if role is not None:
                return role
        return "language_model"

    def _call_super(self, dotted, node, positional, keywords, frame) -> Value | None:
        owner = frame.owner
        if not isinstance(owner, (Instance, Class)):
            return None
        if positional and isinstance(positional[0], Class):
            return Super(owner, positional[0].symbol)
        name = frame.function.rpartition(".")[0]
        for symbol in self.ancestry(owner.symbol):
            if symbol.dotted == name and symbol.module is frame.module:
                return Super(owner, symbol)
        return None

    def _call_register(self, dotted, node, positional, keywords, frame) -> Value | None:
        if dotted.endswith("AutoModel.register") and len(positional) > 1:
            made = positional[1]
            if isinstance(made, Class) and made.symbol not in self.state.auto:
                self.state.auto.append(made.symbol)
        return None

    def _call_remote(self, dotted, node, positional, keywords, frame) -> Value | None:
        """`ray.remote(Worker)`: its objects are made elsewhere, and their methods called there."""
        if dotted != "ray.remote" or not positional:
            return None
        for guard, made in alternatives(positional[0]):
            if isinstance(made, Class):
                saved, self.state.guard = self.state.guard, self.state.guard | guard
                self.create(made.symbol, ([], {}, True), line_of(frame, node))
                self.state.guard = saved
        return positional[0]

    def _call_Fire(self, dotted, node, positional, keywords, frame) -> Value | None:
        for value in positional:
            if isinstance(value, Function):
                self._from_command_line(value, line_of(frame, node))
        return UNKNOWN if positional else None

    _call_run_exit = _call_tyro = _call_cli = _call_Fire

    def _from_command_line(self, function: Function, at: Line) -> None:
        node = function.symbol.node
        if not isinstance(node, ast.FunctionDef) or function.symbol.module is None:
            return
        spec = node.args
        keywords: dict[str, Value] = {}
        outside = Frame(function.symbol.module)
        named = [*spec.args, *spec.kwonlyargs]
        defaults = [None] * (len(spec.args) - len(spec.defaults)) + list(spec.defaults)
        for argument, default in zip(named, [*defaults, *spec.kw_defaults], strict=False):
            value = self.evaluate(default, outside) if default is not None else Const(None)
            given = self.state.overridden("option", argument.arg)
            where = Line(function.symbol.module.path, argument.lineno)
            keywords[argument.arg] = given or Chosen("option", argument.arg, value, where)
        self.enter(function, ([], keywords, False), at)

    def _call_partial(self, dotted, node, positional, keywords, frame) -> Value | None:
        if not positional:
            return None
        return Bound(positional[0], tuple(positional[1:]), tuple(keywords.items()))

    def _call_dict(self, dotted, node, positional, keywords, frame) -> Value | None:
        if dotted != "dict":
            return None
        result = positional[0] if positional and isinstance(positional[0], Mapping) else Mapping()
        for key, value in keywords.items():
            result = result.put(key, value)
        return result if isinstance(result, Mapping) else None

    def _call_from_dict(self, dotted, node, positional, keywords, frame) -> Value | None:
        """`PretrainedConfig.from_dict({…})`: a configuration that holds what is written there."""
        made = dotted.rpartition(".")[0].endswith("Config")
        if made and positional and isinstance(positional[0], Mapping):
            return Mapping(positional[0].items, rest=True)
        return None

    def _call_getattr(self, dotted, node, positional, keywords, frame) -> Value | None:
        if len(positional) < 2 or not isinstance(positional[1], Const):
            return None
        name = str(positional[1].value)
        default = positional[2] if len(positional) > 2 else UNKNOWN
        shape = ast.copy_location(ast.Attribute(node.args[0], name, ast.Load()), node)
        found = apply(positional[0], lambda v: self.attribute(v, shape, frame))
        if (
            isinstance(found, Chosen)
            and found.kind == "config"
            and len(positional) > 2
            and isinstance(found.default, Unknown)
        ):
            return Chosen("config", name, default)
        return default if isinstance(found, Unknown) and isinstance(default, Chosen) else found

    def _call_hasattr(self, dotted, node, positional, keywords, frame) -> Value | None:
        if len(positional) == 2 and isinstance(positional[1], Const):
            name = str(positional[1].value)
            if words.is_switch(name) or words.is_setting(name):
                return Chosen("config", f"{name} (present)", UNKNOWN)
        return None

    def _call_any(self, dotted, node, positional, keywords, frame) -> Value | None:
        """`any(part in name for part in ("a", "b"))`, and the same with `all`."""
        over = node.args[0] if len(node.args) == 1 else None
        if not isinstance(over, (ast.GeneratorExp, ast.ListComp)) or len(over.generators) > 1:
            return None
        loop = over.generators[0]
        rows = self.evaluate(loop.iter, frame)
        if loop.ifs or not (isinstance(loop.target, ast.Name) and isinstance(rows, Row)):
            return None
        if not rows.items:
            return Const(dotted == "all")
        inner = Frame(frame.module, {}, frame.function, frame.owner, frame.klass, frame)
        tests = []
        for item in rows.items:
            inner.names[loop.target.id] = item
            tests.append(self.test(over.elt, inner))
        joined = truths.either if dotted == "any" else truths.both
        return self._as_value(joined(tests, self.knowledge.text(node)))

    _call_all = _call_any

    def _call_isinstance(self, dotted, node, positional, keywords, frame) -> Value | None:
        """A model is no text, and a text is no model."""
        if len(positional) != 2 or positional[1] not in (External("str"), External("builtins.str")):
            return None
        text = apply(positional[0], _is_a_text)
        return text if not isinstance(text, Unknown) else None

    def _environment(self, positional: list[Value]) -> Value | None:
        if not positional or not isinstance(positional[0], Const):
            return None
        default = positional[1] if len(positional) > 1 else Const(None)
        return self.variable(str(positional[0].value), default)

    def _call_getenv(self, dotted, node, positional, keywords, frame) -> Value | None:
        return self._environment(positional)

    def _call_get(self, dotted, node, positional, keywords, frame) -> Value | None:
        return self._environment(positional) if dotted.endswith("environ.get") else None

    def _call_bool(self, dotted, node, positional, keywords, frame) -> Value | None:
        return positional[0] if positional else None

    _call_int = _call_str = _call_deepcopy = _call_copy = _call_bool

    def _call_eval(self, dotted, node, positional, keywords, frame) -> Value | None:
        return self.evaluated(positional[0], frame) if dotted == "eval" and positional else None

    def _call_import_module(self, dotted, node, positional, keywords, frame) -> Value | None:
        if positional and isinstance(positional[0], Const) and positional[0].value:
            module = self.project.find_module(frame.module.folder, str(positional[0].value))
            if module:
                self.import_module(module)
                return ModuleValue(module)
        if positional and isinstance(positional[0], Template):
            modules = modules_named(self.project, frame.module.folder, positional[0].text)
            return self._one_of(modules) if modules else None
        return None

    def _one_of(self, modules: list[Module]) -> Value:
        """One of several modules, each run where its name is chosen."""
        found = []
        for module in modules:
            chosen = frozenset({Literal("model", f"the model {module.name}", "is chosen")})
            saved, self.state.guard = self.state.guard, self.state.guard | chosen
            self.import_module(module)
            self.state.guard = saved
            found.append((chosen, ModuleValue(module)))
        return Choice(tuple(found))


def _is_a_text(value: Value) -> Value:
    """True or False where it is known whether a value is a text."""
    if isinstance(value, (Loaded, Instance, Class, Function, Row, Mapping)):
        return Const(False)
    if isinstance(value, Const):
        return Const(isinstance(value.value, str))
    return Const(True) if isinstance(value, Template) else UNKNOWN
