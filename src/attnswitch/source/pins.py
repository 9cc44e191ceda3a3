"""Which transformers a project pins: what a model does that nobody told anything changed."""

from __future__ import annotations

import re

from attnswitch.source.tree import SourceFile

_PIN = re.compile(r"transformers\s*(?:==|~=|@\S*?v)\s*(\d+)\.(\d+)")
_KINDS = {"toml", "requirements", "config", "yaml"}


def pinned_transformers(files: list[SourceFile]) -> tuple[int, int] | None:
    """The highest pinned version of transformers as (major, minor), None without a pin."""
    found = [
        (int(match.group(1)), int(match.group(2)))
        for file in files
        if file.kind in _KINDS or file.path.endswith("setup.py")
        for match in _PIN.finditer(file.text)
    ]
    return max(found) if found else None
