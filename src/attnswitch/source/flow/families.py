"""Kernels: which families a value of a setting or a switch asks for."""

from __future__ import annotations

from attnswitch.source import words
from attnswitch.source.flow.truth import installed, of
from attnswitch.source.flow.values import (
    Available,
    Chosen,
    Const,
    Guard,
    Literal,
    Value,
    alternatives,
)
from attnswitch.source.records import Line


def families(name: str, value: Value) -> list[tuple[str, Guard, Line | None]]:
    """The kernels that `name = value` asks for, with the conditions and the line of each."""
    found: list[tuple[str, Guard, Line | None]] = []
    for guard, item in alternatives(value):
        if isinstance(item, Const):
            found.append((_family(name, item.value) or "default", guard, item.at))
        elif isinstance(item, Chosen):
            found.extend((f, guard | g, item.at) for f, g in _chosen(name, item))
        elif isinstance(item, Available):
            truth = installed(item.package)
            on, off = words.switch_family(name, True), words.switch_family(name, False)
            found.append((on or "flash", guard | truth.yes, None))
            found.append((off or "off", guard | truth.no, None))
        else:
            found.append((f"asked:{name}", guard, None))
    return found


def _family(name: str, value: object) -> str | None:
    if words.is_setting(name):
        if isinstance(value, bool):
            return "flash" if value else "off"
        return words.family_of(value)
    return words.switch_family(name, value)


def _chosen(name: str, item: Chosen) -> list[tuple[str, Guard]]:
    """An option handed straight on: on for one value of it, off for others."""
    default = item.default.value if isinstance(item.default, Const) else ...
    usual = _family(name, default) if default is not ... else None
    if words.is_setting(name):
        held = None if default is ... or usual is None else usual == "flash"
        flash = of(
            Literal(item.kind, item.name, "= flash_attention_2", by_default=held, shown=item.shown)
        )
        other = usual if usual not in {None, "flash"} else "off"
        return [("flash", flash.yes), (other or "off", flash.no)]
    held = bool(default) if default is not ... else None
    truth = of(Literal(item.kind, item.name, "true", by_default=held, shown=item.shown))
    on = words.switch_family(name, True) or "flash"
    off = words.switch_family(name, False) or "off"
    return [(on, truth.yes), (off, truth.no)]
