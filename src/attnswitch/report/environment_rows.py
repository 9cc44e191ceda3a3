"""The environment of a record as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attnswitch.report.quantities import bytes_text

_NAMES = {"cpu_flags": "processor features"}


def environment_rows(environment: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, value) for everything that is known; what is empty is left out."""
    for key, value in environment.items():
        if value not in (None, "", [], {}):
            yield _NAMES.get(key, str(key).replace("_", " ")), _value_text(value)


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}\u00a0{_field_text(key, item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        between = "; " if any(isinstance(item, dict) for item in value) else ", "
        return between.join(_value_text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _field_text(key: str, value: Any) -> str:
    return bytes_text(value) if str(key).endswith("_bytes") else _value_text(value)
