"""Folders that a script adds to the path of imports: `sys.path.append(join(…, "package"))`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

_ADDS = re.compile(r"^[^#\n]*\bsys\.path\.(?:append\(|insert\(\d+,)(.*)$", re.MULTILINE)
_TEXT = re.compile(r"[\"']([^\"']*)[\"']")


def added_folders(text: str, folder: str, known: Iterable[str]) -> list[str]:
    """The folders of the tree that a module in `folder` adds, by the last text of each call.

    Of several with that name it is the one that shares most of the path.
    """
    if "sys.path" not in text:
        return []
    found: list[str] = []
    for match in _ADDS.finditer(text):
        names = _TEXT.findall(match.group(1))
        name = re.sub(r"^(?:\.{0,2}/)+|/+$", "", names[-1]) if names else ""
        if not re.search(r"\w", name):
            continue
        ends = [f for f in known if f == name or f.endswith("/" + name)]
        if ends:
            found.append(min(ends, key=lambda f: (-_shared(f, folder), len(f), f)))
    return found


def _shared(one: str, other: str) -> int:
    return len(posixpath.commonpath([one or ".", other or "."]))
