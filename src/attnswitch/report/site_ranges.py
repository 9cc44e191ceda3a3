"""Module paths that differ in one layer number, written as a range: `layers.0–31`."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
_USUAL_ENDING = re.compile(r"(?<=\d)\.(self_attn|attn|attention|self_attention)$")


def short_path(path: str) -> str:
    """A module path without the words that every path has: `language_model.layers.3`."""
    return _USUAL_ENDING.sub("", path.removeprefix("model."))


def natural_order(path: str) -> list[tuple[int, int | str]]:
    """Sort key that puts layer 2 before layer 10."""
    return [(0, int(p)) if p.isdecimal() else (1, p) for p in re.split(r"(\d+)", path)]


def layer_number(path: str) -> str:
    """The last number in a module path that stands alone, or an empty string."""
    numbers = _NUMBER.findall(path)
    return numbers[-1] if numbers else ""


def site_ranges(paths: Iterable[str]) -> list[str]:
    """Paths that differ only in their last number become one range, in first-seen order."""
    families: dict[tuple[str, str], list[int]] = {}
    for path in map(short_path, paths):
        found = list(_NUMBER.finditer(path))
        if found:
            ends = path[: found[-1].start()], path[found[-1].end() :]
            families.setdefault(ends, []).append(int(found[-1].group()))
        else:
            families.setdefault((path or "(no module path)", ""), [])
    return [head + _runs(numbers) + tail for (head, tail), numbers in families.items()]


def _runs(numbers: list[int]) -> str:
    """`[0, 1, 2, 5]` as `0–2,5`."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{a}–{b}" if b > a else str(a) for a, b in parts)
