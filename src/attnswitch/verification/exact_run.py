"""Run a model exactly: one precision up, with attention in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attnswitch.switch import apply
from attnswitch.verification.answering import REFERENCE
from attnswitch.verification.precise import one_precision_up, upcast

T = TypeVar("T")


def exactly(
    model: Any, inputs: Mapping[str, Any], compute: Callable[[Mapping[str, Any]], T]
) -> tuple[T, bool]:
    """What `compute(inputs)` gives under the reference, and whether the whole model was precise.

    Some models cast inside and cannot compute in float64; there attention alone is exact.
    """
    try:
        with one_precision_up(model) as up, apply(model, REFERENCE):
            return compute(upcast(inputs, up)), True
    except RuntimeError as error:
        if "dtype" not in str(error) and "scalar type" not in str(error):
            raise
    with apply(model, REFERENCE):
        return compute(inputs), False
