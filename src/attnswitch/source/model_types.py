"""Kernels that only one type of model brings: `if config.text_config.model_type == "qwen2_vl"`."""

from __future__ import annotations

import re

from attnswitch.source.flow.events import Event
from attnswitch.source.flow.values import Literal

_TYPE = re.compile(r"(?:^|[._])config(?:\.\w+)*\.(?:model_type|architectures\[0\]) == ")


def only_type(events: list[Event]) -> Literal | None:
    """The test for the one type of model that brings all of these kernels, if there is one.

    Where several types bring kernels, or a load asks for them, the type does not decide.
    """
    tests = {_type_of(event) for event in events}
    return tests.pop() if len(tests) == 1 else None


def _type_of(event: Event) -> Literal | None:
    if event.kind != "call":
        return None
    tests = [
        lit
        for lit in event.guard
        if lit.kind == "branch" and not lit.negated and _TYPE.search(lit.name)
    ]
    return tests[0] if len(tests) == 1 else None
