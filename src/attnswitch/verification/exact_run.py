"""Run a model exactly: one precision up, with attention in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attnswitch.switch import apply
from attnswitch.verification.answering import REFERENCE
from attnswitch.verification.precise import one_precision_up, upcast
from attnswitch.verification.where_possible import where_possible

T = TypeVar("T")
# What PyTorch says where float64 meets what stayed float32, or a float64 is too large for it.
_CANNOT = ("dtype", "scalar type", "without overflow")


def exactly(
    model: Any, inputs: Mapping[str, Any], compute: Callable[[Mapping[str, Any]], T]
) -> tuple[T, bool]:
    """What `compute(inputs)` gives under the reference, and whether the whole model was precise.

    Some models cast inside and cannot compute in float64; there attention alone is exact.
    """
    reference = where_possible(model, REFERENCE)
    try:
        with one_precision_up(model) as up, apply(model, reference):
            return compute(upcast(inputs, up)), True
    except RuntimeError as error:
        if not any(words in str(error) for words in _CANNOT):
            raise
    with apply(model, reference):
        return compute(inputs), False
