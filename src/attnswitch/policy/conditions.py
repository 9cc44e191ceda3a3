"""The conditions of a rule: what each is about, what may be written, and whether it holds.

A condition speaks of one fact. Facts are a mapping from its name to a value: a name that is not in
it is not known yet, and None means that there is none (a CPU has no compute capability). So a
condition holds, does not hold, or cannot be told yet: True, False, None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from attnswitch.errors import did_you_mean
from attnswitch.policy.number_ranges import Numbers, capability_number, read_numbers
from attnswitch.policy.versions import ABSENT, PRESENT, VersionTest, read_version_test

ROLES = ("vision_tower", "projector", "language_model", "other")
PHASES = ("vision", "prefill", "decode")
DEVICES = ("cpu", "cuda", "mps", "xpu", "npu", "hpu")
DTYPES = ("float16", "bfloat16", "float32", "float64")
MASKS = ("none", "causal", "padding", "other")
SHORT_DTYPES = {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32",
                "float": "float32", "fp64": "float64", "double": "float64"}  # fmt: skip

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Words:
    """One of some words; `known` are all that there are, where the list is closed."""

    words: frozenset[str]
    known: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        return value in self.words


@dataclass(frozen=True)
class NumberTest:
    """A number in a set of numbers."""

    numbers: Numbers

    def holds(self, value: Any) -> bool:
        return value is not None and value in self.numbers


@dataclass(frozen=True)
class Globs:
    """A module path that matches one of some patterns; `*` matches dots too."""

    patterns: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        return value is not None and any(fnmatchcase(value, glob) for glob in self.patterns)


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    wanted: bool

    def holds(self, value: Any) -> bool:
        return value is not None and bool(value) == self.wanted


@dataclass(frozen=True)
class Packages:
    """Every package named has a version as wanted; the fact is a function from name to version."""

    wanted: tuple[tuple[str, VersionTest], ...]

    def holds(self, value: Callable[[str], str | None]) -> bool:
        return all(test.holds(value(name)) for name, test in self.wanted)


@dataclass(frozen=True)
class Variables:
    """Every environment variable named is set as wanted; the fact is a mapping like os.environ."""

    wanted: tuple[tuple[str, str], ...]

    def holds(self, value: Mapping[str, str]) -> bool:
        for name, pattern in self.wanted:
            found = value.get(name)
            if pattern in (PRESENT, ABSENT):
                if (found is None) != (pattern == ABSENT):
                    return False
            elif found is None or not fnmatchcase(found, pattern):
                return False
        return True


Test = Words | NumberTest | Globs | Flag | Packages | Variables


@dataclass(frozen=True)
class Condition:
    """One line of `when`; `text` is how messages show it."""

    fact: str
    test: Test
    text: str = field(compare=False)

    def holds(self, facts: Facts) -> bool | None:
        """Whether it holds; None where the fact is not known yet."""
        if self.fact not in facts:
            return None
        return self.test.holds(facts[self.fact])

    def __str__(self) -> str:
        return self.text


def read_condition(name: str, value: Any) -> Condition:
    """Read one condition.

    Raises:
        ValueError: there is no such condition, or its value says nothing; says what may be written.
    """
    if name not in CONDITIONS:
        hint = did_you_mean(name, CONDITIONS)
        raise ValueError(f"unknown condition {name!r}{hint}; there are {', '.join(CONDITIONS)}")
    if value is None:
        raise ValueError(f"{name} has no value; leave it out where everything is meant")
    try:
        test = CONDITIONS[name](value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return Condition(_FACTS.get(name, name), test, f"{name}: {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return " or ".join(_shown(item) for item in value)
    return str(value)


def _words(known: tuple[str, ...], same: Mapping[str, str] | None = None) -> Callable[[Any], Words]:
    def read(value: Any) -> Words:
        given = value if isinstance(value, (list, tuple)) else [value]
        found = []
        for word in given:
            word = (same or {}).get(str(word), word)
            if word not in known:
                hint = did_you_mean(str(word), known)
                raise ValueError(f"{word!r} is none of {', '.join(known)}{hint}")
            found.append(word)
        if not found:
            raise ValueError("an empty list matches nothing")
        return Words(frozenset(found), known)

    return read


def _phase(value: Any) -> Words:
    if value == "backward" or (isinstance(value, (list, tuple)) and "backward" in value):
        raise ValueError(
            "backward runs the kernel of its forward pass and cannot be chosen by itself; "
            "write `training: true`"
        )
    return _words(PHASES)(value)


def _device(value: Any) -> Words:
    given = value if isinstance(value, (list, tuple)) else [value]
    for word in given:
        if isinstance(word, str) and ":" in word:
            raise ValueError(f"{word!r} names one device; write its kind, {word.split(':')[0]!r}")
    return _words(DEVICES)(value)


def _numbers(value: Any) -> NumberTest:
    return NumberTest(read_numbers(value))


def _capability(value: Any) -> NumberTest:
    return NumberTest(read_numbers(value, capability_number))


def _globs(value: Any) -> Globs:
    given = value if isinstance(value, (list, tuple)) else [value]
    if not given or not all(isinstance(glob, str) and glob for glob in given):
        raise ValueError(f"{value!r} is no module path; write one such as 'model.vision_tower.*'")
    return Globs(tuple(given))


def _flag(value: Any) -> Flag:
    if not isinstance(value, bool):
        raise ValueError(f"write true or false, not {value!r}")
    return Flag(value)


def _packages(value: Any) -> Packages:
    if not isinstance(value, Mapping) or not value:
        raise ValueError('write packages with versions, as {transformers: ">=4.48"}')
    wanted = []
    for name, text in value.items():
        try:
            wanted.append((str(name), read_version_test(text)))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return Packages(tuple(sorted(wanted, key=lambda pair: pair[0])))


def _variables(value: Any) -> Variables:
    if not isinstance(value, Mapping) or not value:
        raise ValueError('write variables with values, as {LOCAL_RANK: "0"}')
    for name, text in value.items():
        if isinstance(text, (bool, Mapping, list)) or text is None:
            raise ValueError(f"{name}: write its value in quotes, present or absent, not {text!r}")
    return Variables(tuple(sorted((str(name), str(text)) for name, text in value.items())))


CONDITIONS: dict[str, Callable[[Any], Test]] = {
    "role": _words(ROLES),
    "site": _globs,
    "layers": _numbers,
    "phase": _phase,
    "device": _device,
    "capability": _capability,
    "dtype": _words(DTYPES, SHORT_DTYPES),
    "head_dim": _numbers,
    "q_length": _numbers,
    "kv_length": _numbers,
    "batch": _numbers,
    "mask": _words(MASKS),
    "training": _flag,
    "packages": _packages,
    "environment": _variables,
}
# Where a condition's name is not that of the fact it speaks of.
_FACTS = {"layers": "layer"}
