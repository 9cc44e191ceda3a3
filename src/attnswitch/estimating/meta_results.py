"""Results of operators on the meta device, remembered: alike layers ask the same again and again.

An operator's result on meta tensors depends on shapes, strides and dtypes alone. PyTorch works it
out in Python, which takes most of a ledger's time; the second time an empty tensor of the
remembered form serves as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

Form = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


class MetaResults:
    """`run(func, args, kwargs)` is func(*args, **kwargs), mostly without the work."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[Form, ...] | None] = {}
        self._fit: dict[Any, bool] = {}

    def run(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The operator's result; a remembered one is as good as new."""
        if not self._may_be_remembered(func):
            return func(*args, **kwargs)
        key = _key(func, args, kwargs)
        if key is None:
            return func(*args, **kwargs)
        forms = self._known.get(key, ())
        if forms:
            return _made(forms)
        result = func(*args, **kwargs)
        if forms is not None:
            self._known[key] = _forms(result, args)
        return result

    def _may_be_remembered(self, func: Any) -> bool:
        """Whether an operator makes new tensors and changes none."""
        found = self._fit.get(func)
        if found is None:
            schema = getattr(func, "_schema", None)
            found = (
                schema is not None
                and not schema.is_mutable
                and all(given.alias_info is None for given in schema.arguments)
            )
            self._fit[func] = found
        return found


def _key(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Hashable | None:
    """What the result depends on; None where a tensor has numbers, or something has no hash."""
    try:
        parts = (func, *map(_part, args), *((name, _part(kwargs[name])) for name in kwargs))
        hash(parts)
    except TypeError:
        return None
    return parts


def _part(value: Any) -> Hashable:
    if isinstance(value, torch.Tensor):
        if value.device.type != "meta" or type(value) not in (torch.Tensor, torch.nn.Parameter):
            raise TypeError
        return "tensor", value.shape, value.stride(), value.dtype
    if isinstance(value, (list, tuple)):
        return tuple(map(_part, value))
    # 1, 1.0 and True are equal and make tensors of different dtypes.
    return type(value), value


def _forms(result: Any, args: Sequence[Any]) -> tuple[Form, ...] | None:
    """The forms of a tensor or of a tuple of them, each a storage of its own; None for others.

    Schemas do not tell all: `_unsafe_view` is a view.
    """
    tensors = result if isinstance(result, tuple) else (result,)
    given = {a.untyped_storage()._cdata for a in tree_leaves(args) if isinstance(a, torch.Tensor)}
    storages: set[int] = set()
    for tensor in tensors:
        if type(tensor) is not torch.Tensor or tensor.device.type != "meta":
            return None
        storages.add(tensor.untyped_storage()._cdata)
        if tensor.storage_offset() or tensor.untyped_storage().nbytes() != _extent(tensor):
            return None
    own = len(storages) == len(tensors) and not storages & given
    if not own or (isinstance(result, tuple) and len(tensors) < 2):
        return None
    return tuple((tuple(t.shape), t.stride(), t.dtype) for t in tensors)


def _extent(tensor: torch.Tensor) -> int:
    """Bytes from a tensor's first element to its last."""
    if tensor.numel() == 0:
        return 0
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return (1 + sum((size - 1) * stride for size, stride in steps)) * tensor.element_size()


def _made(forms: tuple[Form, ...]) -> Any:
    made = [torch.empty_strided(shape, stride, dtype=dtype, device="meta")
            for shape, stride, dtype in forms]  # fmt: skip
    return made[0] if len(made) == 1 else tuple(made)
