"""The pictures of a record: only raster images that the record itself holds are shown."""

from __future__ import annotations

import re
from typing import Any

_RASTER = re.compile(r"data:image/(png|jpeg|gif|webp|bmp);base64,[A-Za-z0-9+/]+={0,2}", re.ASCII)


def shown_pictures(record: dict[str, Any]) -> list[dict[str, str]]:
    """`{name, data_uri}` of each picture; `data_uri` is empty where it cannot be shown safely."""
    return [
        {"name": str(image.get("name") or "picture"), "data_uri": _safe(image.get("data_uri"))}
        for image in record.get("images") or []
    ]


def _safe(data_uri: Any) -> str:
    safe = isinstance(data_uri, str) and _RASTER.fullmatch(data_uri)
    return data_uri if safe else ""
