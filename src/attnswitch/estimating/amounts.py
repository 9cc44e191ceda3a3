"""Amounts as people write them: bytes of memory, and the size of a picture."""

from __future__ import annotations

import re

from attnswitch.errors import InputError

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_SIZE = re.compile(r"(\d+)\s*[x×]\s*(\d+)", re.IGNORECASE)


def bytes_of(text: str, option: str) -> int:
    """Bytes that `24GB`, `24 GiB`, `512M` or `1.5g` are; 1 GB is 1 GiB, as on a GPU's box.

    Raises:
        InputError: it is no amount, has no unit, or is nothing.
    """
    match = _BYTES.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{option} {text!r} is no amount of memory; write 24GB, 512MB or 1.5GiB")
    number, unit, ending = match.groups()
    if not unit and not ending:
        raise InputError(
            f"{option} {text!r} has no unit; write {text.strip()}GB or {text.strip()}MB"
        )
    return int(float(number) * 1024 ** _UNITS[unit.lower()])


def size_of(text: str, option: str) -> tuple[int, int]:
    """(height, width) of a picture written as `WIDTHxHEIGHT`.

    Raises:
        InputError: it is not written so.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{option} {text!r} is no size; write WIDTHxHEIGHT, such as 1024x768")
    return int(match.group(2)), int(match.group(1))
