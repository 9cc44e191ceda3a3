"""Text as it can be kept: any character but lone surrogates, which no encoding takes."""

from __future__ import annotations

import math
from typing import Any


def clean(value: Any) -> Any:
    """Plain JSON data with every text storable and every number finite.

    Lone surrogates (Python's stand-ins for undecodable bytes of file names) become the escape that
    names them, `\\udcff`; infinities and NaN become None.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def clean_text(text: str) -> str:
    """`text` without lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
