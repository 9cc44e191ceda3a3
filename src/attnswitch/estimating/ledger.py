"""A ledger of every allocation that a computation makes, written while it runs on the meta device.

Meta tensors have shapes, dtypes and lifetimes but no memory, and autograd keeps and drops them as
it does real ones. So the same code that would run, forward and backward, is run without computing:
what is alive at each moment is known exactly, and the peak is a sum of named tensors.

Operators whose kernels allocate inside themselves are opaque here: `kernel_memory` says what they
take, as their sources do.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attnswitch.estimating.meta_results import MetaResults

# What a kernel allocates and frees inside one call: names and bytes, all alive together.
Inside = Callable[[Any, Sequence[Any], dict[str, Any], Any], Iterable[tuple[str, int]]]
# Told of every operator, its arguments and its result.
Watch = Callable[[Any, Sequence[Any], dict[str, Any], Any], None]
# CUDA's caching allocator hands out multiples of this (kMinBlockSize, CUDACachingAllocator.h).
CUDA_BLOCK = 512


@dataclass(frozen=True)
class Allocation:
    """One block of memory: what made it, inside which module; what it is, where it was named."""

    bytes: int
    operator: str
    shape: tuple[int, ...]
    dtype: str
    module: str
    name: str = ""


@dataclass(frozen=True)
class Peak:
    """The most bytes that were alive at once, and what they were."""

    bytes: int
    alive: tuple[Allocation, ...]


class Ledger(TorchDispatchMode):
    """Write down every allocation and release while it is on.

    Args:
        inside: what opaque kernels allocate, or None.
        block: sizes are rounded up to multiples of this.
        known: tensors that were there before; they cost nothing here.
        watch: is told of every operator.
        where: the module that is running, asked at each allocation.
    """

    def __init__(
        self,
        *,
        inside: Inside | None = None,
        block: int = 1,
        known: Iterable[torch.Tensor] = (),
        watch: Watch | None = None,
        where: Callable[[], str] = str,
    ):
        super().__init__()
        self._inside, self._block, self._watch, self._where = inside, block, watch, where
        self._allocations: list[Allocation] = []
        # Indices into the list above: i for an allocation, ~i for its release.
        self._events: list[int] = []
        self._alive: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._before = [tensor.untyped_storage() for tensor in known]
        self._foreign = {storage._cdata for storage in self._before}
        self._results = _results
        self.operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator and note what it left and what it took meanwhile."""
        self.operators += 1
        kwargs = kwargs or {}
        answer = _read(func, args)
        if answer is not None:
            return answer
        result = self._results.run(func, args, kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor, func)
        if self._inside is not None:
            self._note_inside(func, args, kwargs, result)
        if self._watch is not None:
            self._watch(func, args, kwargs, result)
        return result

    def _note(self, tensor: torch.Tensor, func: Any) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive or key in self._foreign:
            return
        index = self._add(storage.nbytes(), _name(func), tensor)
        self._alive[key] = index, weakref.ref(storage, lambda _: self._release(key, index))

    def _add(self, count: int, name: str, tensor: torch.Tensor | None = None) -> int:
        rounded = -(-count // self._block) * self._block
        shape = tuple(tensor.shape) if tensor is not None else ()
        dtype = str(tensor.dtype).removeprefix("torch.") if tensor is not None else ""
        self._allocations.append(Allocation(rounded, name, shape, dtype, self._where()))
        index = len(self._allocations) - 1
        self._events.append(index)
        return index

    def _release(self, key: int, index: int) -> None:
        self._alive.pop(key, None)
        self._events.append(~index)

    def _note_inside(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        assert self._inside is not None
        found = [self._add(count, name) for name, count in self._inside(func, args, kwargs, result)]
        self._events.extend(~index for index in reversed(found))

    def name(self, tensors: Iterable[torch.Tensor], name: str) -> None:
        """Say what these tensors are; those that are not in the ledger are passed over."""
        for tensor in tensors:
            index, _ = self._alive.get(tensor.untyped_storage()._cdata, (None, None))
            if index is not None:
                self._allocations[index] = replace(self._allocations[index], name=name)

    def forget(self, tensor: torch.Tensor) -> None:
        """Take out a tensor that was there before but for the order in which things were made."""
        index, _ = self._alive.pop(tensor.untyped_storage()._cdata)
        self._allocations[index] = replace(self._allocations[index], bytes=0)
        self._events.append(~index)
        self._before.append(tensor.untyped_storage())
        self._foreign.add(tensor.untyped_storage()._cdata)

    def alive(self) -> int:
        """Bytes alive now."""
        return sum(self._sizes(self._events))

    def peak(self) -> Peak:
        """The peak so far, and what was alive at it."""
        now = highest = at = 0
        for place, size in enumerate(self._sizes(self._events), start=1):
            now += size
            if now > highest:
                highest, at = now, place
        held: dict[int, None] = {}
        for event in self._events[:at]:
            if event >= 0:
                held[event] = None
            else:
                del held[~event]
        return Peak(highest, tuple(self._allocations[index] for index in held))

    def _sizes(self, events: list[int]) -> Iterable[int]:
        for event in events:
            yield self._allocations[event].bytes if event >= 0 else -self._allocations[~event].bytes


# Shared by all ledgers: forms depend on nothing else.
_results = MetaResults()


def _name(func: Any) -> str:
    return str(func).rpartition(".")[0] or str(func)


# What code asks of a value that a meta tensor does not have.
_READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)


def _read(func: Any, args: Any) -> Any:
    """The answer where code reads a number out of a meta tensor, else None.

    Models read truth values alone: whether checks hold, and whether a mask hides nothing. Both are
    so for the inputs that are made here.
    """
    if func in _READS and args[0].device.type == "meta":
        if args[0].dtype is not torch.bool:
            raise RuntimeError(f"a number was read from a meta tensor of {args[0].dtype}")
        return True
    return None
