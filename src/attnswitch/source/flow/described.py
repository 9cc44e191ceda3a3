"""Models that a dictionary describes: `dict(type=Model, llm=dict(type=AutoModel.from_pretrained))`.

mmengine and what is built on it (xtuner, mmsegmentation) keep such dictionaries in Python files,
whose path is given on the command line, and build them through registries.
"""

from __future__ import annotations

import ast
import re

from attnswitch.source import words
from attnswitch.source.configurations import is_configuration
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.families import families
from attnswitch.source.flow.machine import Given
from attnswitch.source.flow.objects import Objects, registered_name
from attnswitch.source.flow.state import Frame
from attnswitch.source.flow.values import (
    ALWAYS,
    Class,
    Const,
    External,
    Function,
    Literal,
    Mapping,
    Value,
    alternatives,
)
from attnswitch.source.project import Module
from attnswitch.source.records import Line

#: Functions outside the tree that read a configuration given on the command line.
READS_CONFIGURATION = re.compile(
    r"(?:^|\.)Config\.fromfile$|^(?:xtuner|mmengine|mmcv|mmdet|mmseg|mmpretrain)\..*\.(?:main|train)$"
)
#: Functions that read the configuration at a path.
_READS_A_FILE = re.compile(r"(?:^|_)(?:fromfile|from_file|load_config|read_config)$")
_LOADERS = ("from_pretrained", "from_config")


class Described(Objects):
    """Builds what dictionaries describe."""

    def read_configuration(self, name: str, arguments: Given) -> Value | None:
        """`Config.from_file("configs/x.py")` with a file of the tree; None for any other call."""
        path = arguments[0][0] if arguments[0] else None
        if not (_READS_A_FILE.search(name) and isinstance(path, Const)):
            return None
        return self.read_file(str(path.value)) if str(path.value).endswith(".py") else None

    def build_described(self, value: Value, at: Line) -> bool:
        """Build every dictionary with a `type` among the alternatives; False if there is none."""
        built = False
        for guard, item in alternatives(value):
            if isinstance(item, Mapping) and item.get("type") is not None:
                saved, self.state.guard = self.state.guard, self.state.guard | guard
                self._build_one(item, at)
                self.state.guard = saved
                built = True
        return built

    def _build_one(self, description: Mapping, at: Line) -> None:
        made = description.get("type")
        others = {str(k): v for k, v in description.items if k != "type"}
        if isinstance(made, Const):
            made = self._registered(made.value)
        if isinstance(made, Class):
            self.create(made.symbol, ([], others, False), at)
        elif isinstance(made, Function):
            self.enter(made, ([], others, False), at)
        elif isinstance(made, External) and made.dotted.endswith(_LOADERS):
            self._loaded_from(made.dotted, others, at)
        else:  # somebody else's class, which builds its parts in turn
            for part in others.values():
                self.build_described(part, at)

    def _registered(self, name: object) -> Value | None:
        for symbol in self.state.registered:
            if registered_name(symbol) == name:
                return Class(symbol) if symbol.kind == "class" else Function(symbol)
        return None

    def _loaded_from(self, dotted: str, arguments: dict[str, Value], at: Line) -> None:
        name = dotted.split(".")[-2] if "." in dotted else dotted
        if not words.loads_a_model(name):
            return
        role = words.role_of(name) or "language_model"
        asked = [(k, v) for k, v in arguments.items() if words.is_setting(k) or words.is_switch(k)]
        for key, value in asked:
            for family, guard, source in families(key, value):
                self.state.record(Event("load", family, source or at, role, guard, name, source))
        if not asked:
            self.state.record(Event("load", "default", at, role, ALWAYS, name))

    def read_file(self, path: str) -> Value | None:
        """What a Python file of the tree assigns, read as a configuration by its path."""
        module = self._at_the_path(path.removeprefix("./"))
        if module is None or not is_configuration(module):
            return None
        return Mapping(tuple(self._assigned_in(module).names.items()), rest=True)

    def _at_the_path(self, path: str) -> Module | None:
        """The file at a path from the root, or from the one folder where it leads to a file."""
        modules = self.project.modules
        if path in modules or "/" not in path:
            return modules.get(path)
        found = [m for other, m in modules.items() if other.endswith("/" + path)]
        return found[0] if len(found) == 1 else None

    def run_configurations(self) -> None:
        """Build the model of every configuration of the tree, each if its path is given."""
        saved = self.state.guard
        for module in self.knowledge.configurations:
            chosen = Literal("model", f"the configuration {module.path}", "is given")
            self.state.guard = saved | {chosen}
            self._run_configuration(module)
        self.state.guard = saved

    def _run_configuration(self, module: Module) -> None:
        model = self._assigned_in(module).names.get("model")
        if model is not None:
            self.build_described(model, Line(module.path, 1))

    def _assigned_in(self, module: Module) -> Frame:
        frame = Frame(module)
        for statement in module.tree.body:
            if isinstance(statement, ast.Assign):
                self.statement(statement, frame, False)
            else:
                self._imports_of(statement, frame)
        return frame

    def _imports_of(self, statement: ast.stmt, frame: Frame) -> None:
        """The imports of a configuration, also below `with read_base():`."""
        for node in self.project.mentions(statement).imports:
            self.statement(node, frame, False)
