"""What an expression can be worth without running the program."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from attnswitch.source import words
from attnswitch.source.project import Module, Symbol
from attnswitch.source.records import Line

#: More alternatives than this are joined into Unknown.
MOST_ALTERNATIVES = 12
#: The same, where each can be called: evaluation suites know this many models.
MOST_MODELS = 60


@dataclass(frozen=True)
class Literal:
    """One condition on the way: "the option --flash is true".

    kind is option, variable, package, config, model (one of a registry) or branch (anything
    else). `by_default` says whether it holds when the user sets nothing; None if that cannot be
    known. `shown` is the option as it is typed, where that is not `--` and the name.
    """

    kind: str
    name: str
    want: str
    negated: bool = False
    by_default: bool | None = None
    shown: str = field(default="", compare=False)

    def inverse(self) -> Literal:
        """The opposite condition."""
        default = None if self.by_default is None else not self.by_default
        return Literal(self.kind, self.name, self.want, not self.negated, default, self.shown)

    @property
    def names_a_model(self) -> bool:
        """True for `'mpt' in args.model_name_or_path`: it picks a model, not a kernel."""
        if self.kind == "branch":
            return bool(_IN_A_NAME.match(self.name))
        return self.want.startswith(CONTAINS)

    def __str__(self) -> str:
        if self.kind == "package":
            return f"{self.name} is {'not ' if self.negated else ''}installed"
        if self.want == "true":
            return f"not {self.name}" if self.negated else self.name
        sign, _, value = self.want.partition(" ")
        return f"{self.name} {_OPPOSITE.get(sign, sign) if self.negated else sign} {value}"


#: A test of a name that could not be followed to an option.
_IN_A_NAME = re.compile(r"'[^']+' in \w*model_(?:name|path)\w*(?:\.lower\(\))?$")
#: The first word of a want, denied.
_OPPOSITE = {"==": "!=", "=": "is not", "is": "is not", "in": "not in", "contains": "lacks"}
#: How the want of a condition on a part of a text begins.
CONTAINS = "contains "

Guard = frozenset[Literal]
ALWAYS: Guard = frozenset()


def possible(guard: Guard) -> bool:
    """False if a guard holds a condition and its opposite."""
    if len(guard) < 2:
        return True
    held: dict[tuple[str, str, str], bool] = {}
    for lit in guard:
        if held.setdefault((lit.kind, lit.name, lit.want), lit.negated) != lit.negated:
            return False
    return True


class Value:
    """Base of all abstract values."""


@dataclass(frozen=True)
class Unknown(Value):
    """Anything. `text` is the source it came from, for messages."""

    text: str = ""


@dataclass(frozen=True)
class Loaded(Unknown):
    """A model of a class outside the tree: some object, and thus neither a text nor None."""


@dataclass(frozen=True)
class Const(Value):
    """A known constant, and the line it is written in."""

    value: object
    at: Line | None = field(default=None, compare=False, repr=False)

    def __hash__(self) -> int:
        return hash(repr(self.value))


@dataclass(frozen=True)
class Chosen(Value):
    """A value that somebody chooses: a command-line option, a variable or a config field.

    `shown` is the option as it is typed. `derived` marks a text made from it: its last part, or
    in lower case; what the option contains can still be asked of it, what it equals cannot.
    `choices` are the values that a parser accepts, empty if it accepts all.
    """

    kind: str
    name: str
    default: Value
    at: Line | None = None
    shown: str = field(default="", compare=False)
    derived: bool = False
    choices: tuple[object, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Available(Value):
    """True if a package can be imported."""

    package: str


@dataclass(frozen=True)
class Choice(Value):
    """One of several values, each under its own conditions."""

    options: tuple[tuple[Guard, Value], ...]


@dataclass(frozen=True)
class Mapping(Value):
    """A dictionary with known string keys; `rest` if it may hold more."""

    items: tuple[tuple[object, Value], ...] = ()
    rest: bool = False

    def get(self, key: object) -> Value | None:
        """The value under a key, None if it is not there."""
        for name, value in self.items:
            if name == key:
                return value
        return None

    def put(self, key: object, value: Value) -> Mapping:
        """A copy with one entry set."""
        items = tuple((k, v) for k, v in self.items if k != key)
        return Mapping((*items, (key, value)), self.rest)


@dataclass(frozen=True)
class Row(Value):
    """A tuple or list."""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class Template(Value):
    """A text of which parts are not known; `HOLE` stands for each of them."""

    text: str


#: Stands for an unknown part of a text or of a command.
HOLE = "{…}"


@dataclass(frozen=True)
class Function(Value):
    """A function of the tree, with the object it is bound to."""

    symbol: Symbol
    owner: Value | None = None


@dataclass(frozen=True)
class Class(Value):
    """A class of the tree."""

    symbol: Symbol


#: What a configuration asks for in which nobody wrote anything.
NOTHING = Const(None)


@dataclass(frozen=True)
class Instance(Value):
    """An object of a class of the tree.

    `asked` is the implementation that a loading call writes into its copy of a configuration;
    `NOTHING` in one that the program has just made.
    """

    symbol: Symbol
    asked: Value | None = None


@dataclass(frozen=True)
class Super(Value):
    """`super()`: an object, as a class of the tree sees those of its bases that come after it."""

    owner: Value
    after: Symbol


@dataclass(frozen=True)
class Parser(Value):
    """An argument parser, known by the line that creates it."""

    at: Line


@dataclass(frozen=True)
class Arguments(Value):
    """What a parser returns."""

    at: Line


@dataclass(frozen=True)
class External(Value):
    """A name outside the tree."""

    dotted: str


@dataclass(frozen=True)
class ModuleValue(Value):
    """A module of the tree."""

    module: Module


@dataclass(frozen=True)
class Bound(Value):
    """functools.partial, or a method of an external object."""

    function: Value
    args: tuple[Value, ...] = ()
    keywords: tuple[tuple[str, Value], ...] = ()


#: What can be called: a model to build, one of a table or of a chain of tests.
CALLABLE = (Function, Class, Bound)
#: The same, and modules that hold it.
_MODELS = (*CALLABLE, ModuleValue)


def alternatives(value: Value) -> Iterable[tuple[Guard, Value]]:
    """The (conditions, value) pairs of a value."""
    return value.options if isinstance(value, Choice) else ((ALWAYS, value),)


def choose(pairs: Iterable[tuple[Guard, Value]]) -> Value:
    """Join alternatives; what is impossible is left out and equal ones are merged."""
    flat: list[tuple[Guard, Value]] = []
    for guard, value in pairs:
        for inner, item in alternatives(value):
            both = guard | inner
            if possible(both) and (both, item) not in flat:
                flat.append((both, item))
    if not flat:
        return Unknown()
    if all(item == flat[0][1] for _, item in flat):
        return flat[0][1]
    most = MOST_MODELS if all(isinstance(v, _MODELS) for _, v in flat) else MOST_ALTERNATIVES
    return Choice(tuple(flat)) if len(flat) <= most else Unknown()


def apply(value: Value, function: Callable[[Value], Value]) -> Value:
    """Apply a function to every alternative."""
    if not isinstance(value, Choice):
        return function(value)
    return choose((guard, function(item)) for guard, item in value.options)


def one_of_many(table: Mapping) -> Value:
    """An entry of a table of models by an unknown name: one of them, if it holds what is called.

    Entries that call the same with other paths are one, and so are rows that hold the same models.
    """
    kinds: dict[object, tuple[Guard, Value]] = {}
    for name, value in table.items:
        chosen = Literal("model", f"the model {name}", "is chosen")
        if isinstance(value, Mapping):
            held = tuple((k, v) for k, v in value.items if isinstance(v, CALLABLE))
            if held:
                kinds.setdefault(held, (frozenset({chosen}), value))
                continue
        called = value.function if isinstance(value, Bound) else value
        if not isinstance(called, (Class, Function)):
            return Unknown()
        asked = [k for k in value.keywords if _steers(k[0])] if isinstance(value, Bound) else []
        kinds.setdefault((called, tuple(asked)), (frozenset({chosen}), value))
    return Choice(tuple(kinds.values()))


def _steers(keyword: str) -> bool:
    return words.is_setting(keyword) or words.is_switch(keyword)
