"""Places that were to run FlashAttention and did not: the other half of what the guard sees to.

The guard stops FlashAttention where it is barred. Where it is asked for, a model whose attention is
arithmetic of its own passes every seam by; what ran tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attnswitch.backends.catalogue import family_of
from attnswitch.types import Receipt


def disobeyed(receipts: Iterable[Receipt]) -> list[str]:
    """One line for each kind of site that ran another family where FlashAttention was planned.

    `model.layers.*.self_attn ran eager (aten::_softmax ...) where ATTNSWITCH asks for 'flash'`
    """
    lines = (_line(one) for one in receipts if _betrays(one))
    return list(dict.fromkeys(lines))


def _betrays(one: Receipt) -> bool:
    planned = family_of(one.planned) == "flash"
    return planned and one.backend is not None and one.family != "flash"


def _line(one: Receipt) -> str:
    place = re.sub(r"\b\d+\b", "*", one.site) if one.site else "code in no known site"
    seen = f" ({', '.join(one.executed)})" if one.executed else ""
    return f"{place} ran {one.backend}{seen} where {one.source} asks for {one.requested!r}"
