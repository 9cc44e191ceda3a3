"""Read the form of an attention call from a profiler's event: its mask and its dtype, in words."""

from __future__ import annotations

import functools
from typing import Any

_MASKS = ("attn_mask", "attn_bias", "bias", "mask")
_CAUSAL = ("is_causal", "causal")
_DTYPES = {
    "float": "float32",
    "double": "float64",
    "c10::BFloat16": "bfloat16",
    "c10::Half": "float16",
}


def mask_of(name: str, raw: Any) -> str | None:
    """`none`, `causal` or `1×1×4×9 bool`; None where operator `name` does not tell."""
    places = _places(name)
    if places is None:
        return None
    mask, causal = places
    shapes, dtypes = raw.shapes() or [], raw.dtypes() or []
    shape = shapes[mask] if mask is not None and mask < len(shapes) else []
    words = []
    if shape:
        dtype = dtypes[mask] if mask is not None and mask < len(dtypes) else ""
        words.append("×".join(map(str, shape)) + f" {_DTYPES.get(dtype, dtype)}".rstrip())
    values = raw.concrete_inputs() or []
    if causal is not None and causal < len(values) and values[causal] is True:
        words.append("causal")
    return ", ".join(words) or "none"


def dtype_of(raw: Any) -> str | None:
    """The dtype of an event's first tensor, by torch's name."""
    dtypes = raw.dtypes() or []
    found = next((d for d in dtypes if d and not d.startswith("Scalar")), None)
    return _DTYPES.get(found, found) if found else None


@functools.cache
def _places(name: str) -> tuple[int | None, int | None] | None:
    """Where operator `name` takes its mask and whether it is causal; None for unknown ones."""
    import torch

    namespace, _, short = name.partition("::")
    try:
        operator = getattr(getattr(torch.ops, namespace), short)
        overload = getattr(operator, operator.overloads()[0])
        arguments = [argument.name for argument in overload._schema.arguments]
    except (AttributeError, RuntimeError, IndexError):
        return None
    mask = next((i for i, a in enumerate(arguments) if a in _MASKS), None)
    causal = next((i for i, a in enumerate(arguments) if a in _CAUSAL), None)
    return None if mask is None and causal is None else (mask, causal)
