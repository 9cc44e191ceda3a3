"""How many names a caller unpacks a result into: versions of one function differ in that alone."""

from __future__ import annotations

import dis
import sys
from functools import lru_cache
from types import CodeType


def names_on_the_left() -> int | None:
    """The number of names that the caller of our caller unpacks our caller's result into.

    None where the result is not unpacked on the spot into a fixed number of names. Read from the
    instruction that follows the call.
    """
    frame = sys._getframe(2)
    return _unpacked_after(frame.f_code, frame.f_lasti)


@lru_cache(maxsize=256)
def _unpacked_after(code: CodeType, offset: int) -> int | None:
    for instruction in dis.get_instructions(code):
        if instruction.offset > offset and instruction.opname != "CACHE":
            return instruction.argval if instruction.opname == "UNPACK_SEQUENCE" else None
    return None
