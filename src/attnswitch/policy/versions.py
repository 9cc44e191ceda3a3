"""Versions in conditions: `">=2.4,<2.9"`, `"4.37.2"`, `present`, `absent`.

Compared by their release numbers and, before those, development and pre-releases; a local part
("+cu121") says how it was built and is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PRESENT, ABSENT = "present", "absent"

_COMPARISON = re.compile(r"^(<=|>=|<|>|!=|==|=)?\s*(\d+(?:\.\d+)*)$")
_VERSION = re.compile(r"^v?(\d+(?:\.\d+)*)(.*)$")


@dataclass(frozen=True)
class VersionTest:
    """What a version must be: `present`, `absent`, or comparisons that must all hold."""

    word: str = ""
    comparisons: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def holds(self, version: str | None) -> bool:
        """Whether an installed version (None: not installed) is meant."""
        if self.word or version is None:
            return (version is None) == (self.word == ABSENT)
        return all(_compare(version, sign, wanted) for sign, wanted in self.comparisons)


def read_version_test(text: object) -> VersionTest:
    """Read what a condition says of a package.

    Raises:
        ValueError: it is no comparison of versions, nor `present` or `absent`.
    """
    said = str(text).strip()
    if said in (PRESENT, ABSENT):
        return VersionTest(said)
    comparisons = []
    for term in said.split(","):
        found = _COMPARISON.match(term.strip())
        if isinstance(text, bool) or found is None:
            raise ValueError(
                f'{text!r} is no version: write "2.4", ">=2.4,<2.9", present or absent'
            )
        comparisons.append((found[1] or "==", _numbers(found[2])))
    return VersionTest(comparisons=tuple(comparisons))


def release(version: str) -> tuple[tuple[int, ...], bool]:
    """The release numbers of a version, and whether it comes before that release (2.9.0.dev1)."""
    found = _VERSION.match(version.partition("+")[0])
    if found is None:
        return (), False
    rest = found[2].lower().lstrip(".-_")
    return _numbers(found[1]), rest.startswith(("dev", "a", "b", "rc", "c", "pre"))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _compare(version: str, sign: str, wanted: tuple[int, ...]) -> bool:
    have, early = release(version)
    width = max(len(have), len(wanted))
    left = (have + (0,) * (width - len(have)), 0 if early else 1)
    right = (wanted + (0,) * (width - len(wanted)), 1)
    return {
        "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right,
        "==": left == right, "=": left == right, "!=": left != right,
    }[sign]  # fmt: skip
