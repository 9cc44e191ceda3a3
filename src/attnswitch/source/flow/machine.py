"""What the parts of the interpreter share, and what they ask of each other.

Each part is a base class of `Interpreter` and implements some of the methods declared here: names
(`Names`), expressions (`Operators`, `Expressions`), loads (`Loads`), functions outside the tree
(`Outside`), objects and what describes them (`Objects`, `Described`, `NamedClasses`), calls
(`Methods`, `Calls`), what is assigned to (`Targets`) and statements (`Interpreter`).
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod

from attnswitch.source.flow.knowledge import Knowledge
from attnswitch.source.flow.state import Frame, State
from attnswitch.source.flow.truth import Truth
from attnswitch.source.flow.values import Function, Guard, Value
from attnswitch.source.project import Module, Project, Symbol
from attnswitch.source.records import Line

#: What a call hands over: by position, by keyword, and whether there may be more.
Given = tuple[list[Value], dict[str, Value], bool]


class Machine(ABC):
    """The state of one run, and the methods that its parts call across."""

    def __init__(self, project: Project, knowledge: Knowledge, state: State):
        self.project = project
        self.knowledge = knowledge
        self.state = state
        self.closures: dict[tuple[str, int], Frame] = {}
        self.protected = False
        self._globals: dict[tuple[str, str], Value] = {}

    def ancestry(self, symbol: Symbol) -> list[Symbol]:
        """A class and its bases in the tree, nearest first."""
        return self.knowledge.ancestry(symbol)

    # -- expressions --------------------------------------------------------------------------

    @abstractmethod
    def evaluate(self, node: ast.AST, frame: Frame) -> Value:
        """The abstract value of an expression."""

    @abstractmethod
    def test(self, node: ast.expr, frame: Frame) -> Truth:
        """When a test holds."""

    # -- calls --------------------------------------------------------------------------------

    @abstractmethod
    def call(self, node: ast.Call, frame: Frame) -> Value:
        """Evaluate a call."""

    @abstractmethod
    def enter(self, function: Function, arguments: Given, at: Line, follow: bool = False) -> Value:
        """Call a function of the tree."""

    @abstractmethod
    def create(self, symbol: Symbol, arguments: Given, at: Line) -> Value:
        """Create an object of a class of the tree."""

    @abstractmethod
    def registered_in(self, table: str) -> Value:
        """One of what decorators put into a table of the tree."""

    @abstractmethod
    def evaluated(self, text: Value, frame: Frame) -> Value:
        """What `eval(text)` gives."""

    @abstractmethod
    def field_of_some(self, given: list[Value]) -> Value | None:
        """`config.get(name, default)`, of a configuration that could not be followed."""

    @abstractmethod
    def note_made(self, symbol: Symbol, conditions: Guard, at: Line) -> None:
        """Note an object made here, under conditions besides those of this moment."""

    @abstractmethod
    def _by_name(self, name: str, node: ast.Call, arguments: Given, frame: Frame) -> Value:
        """Call a method of an object that could not be followed."""

    @abstractmethod
    def _callbacks(self, arguments: Given, at: Line) -> None:
        """Call the functions that are handed to code outside the tree."""

    @abstractmethod
    def build_described(self, value: Value, at: Line) -> bool:
        """Build every dictionary with a `type` among the alternatives; False if there is none."""

    @abstractmethod
    def run_configurations(self) -> None:
        """Build the model of every configuration of the tree, each if its path is given."""

    # -- loads --------------------------------------------------------------------------------

    @abstractmethod
    def _role(self, name: str, node: ast.Call, frame: Frame) -> str:
        """The part of the model that a load gives."""

    @abstractmethod
    def _record_load(
        self,
        node: ast.Call,
        keywords: dict[str, Value],
        name: str,
        role: str,
        frame: Frame,
        model: str = "",
    ) -> None:
        """Record a load and what it asks for."""

    # -- statements ---------------------------------------------------------------------------

    @abstractmethod
    def run_module(self, module: Module, is_main: bool) -> None:
        """Run the top of a module: the program itself, or an import."""

    @abstractmethod
    def statement(self, node: ast.stmt, frame: Frame, top: bool) -> bool:
        """Run one statement; True if it leaves the block."""

    @abstractmethod
    def block(self, body: list[ast.stmt], frame: Frame, top: bool = False) -> bool:
        """Run statements; True if control cannot fall out at the end."""

    @abstractmethod
    def assign(self, target: ast.AST, value: Value, source: ast.expr, frame: Frame) -> None:
        """Bind a value to a name, an attribute or an entry."""

    @abstractmethod
    def configured(self, name: str, value: Value, at: ast.AST, owner: str, frame: Frame) -> None:
        """Record a write to a configuration."""
