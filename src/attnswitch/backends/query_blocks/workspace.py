"""One worker's memory: allocated once a call by the caller's thread, reused for every block."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from attnswitch.backends.query_blocks.block_size import BlockSize


class Workspace:
    """Buffers for one worker's blocks, and the products that run through them.

    Everything is in the compute dtype (fp32, or fp64 for fp64 inputs): half-precision inputs are
    widened block by block, which is exact, so that products and scores are never rounded to half.
    """

    def __init__(
        self,
        size: BlockSize,
        k_BGSD: torch.Tensor,
        v_BGSE: torch.Tensor,
        dtype: torch.dtype,
        backward: bool = False,
    ):
        keys, width, value_width = *k_BGSD.shape[2:], v_BGSE.shape[3]
        rows = size.groups * size.heads * size.rows
        chunk = size.groups * size.chunk
        self.size, self.dtype = size, dtype

        def new(count: int) -> torch.Tensor:
            return k_BGSD.new_empty((count,), dtype=dtype)

        self._scores, self._query = new(rows * min(size.piece, keys)), new(rows * width)
        self._keys = new(0 if self._usable(k_BGSD) else chunk * width)
        self._values = new(0 if self._usable(v_BGSE) else chunk * value_width)
        self._out = new(0 if backward else rows * value_width)
        self._dprobs = new(rows * keys if backward else 0)
        self._grad = new(rows * value_width if backward else 0)
        self._packed: dict[str, torch.Tensor] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        buffers = (self._scores, self._query, self._keys, self._values, self._out, self._dprobs,
                   self._grad)  # fmt: skip
        return sum(buffer.numel() * buffer.element_size() for buffer in buffers)

    def query(self, q_GRTD: torch.Tensor) -> torch.Tensor:
        """Return q as contiguous (G, R·T, D) in the compute dtype."""
        return _flat_copy(self._query, q_GRTD)

    def grad(self, grad_GRTE: torch.Tensor) -> torch.Tensor:
        """Return the output's gradient as contiguous (G, R·T, E) in the compute dtype."""
        return _flat_copy(self._grad, grad_GRTE)

    def scores(self, shape: tuple[int, int, int]) -> torch.Tensor:
        """Return an uninitialised (G, R·T, S)."""
        return _part(self._scores, shape)

    def dprobs(self, shape: tuple[int, int, int]) -> torch.Tensor:
        """Return another uninitialised (G, R·T, S)."""
        return _part(self._dprobs, shape)

    def out(self, shape: tuple[int, int, int]) -> torch.Tensor:
        """Return an uninitialised (G, R·T, E)."""
        return _part(self._out, shape)

    def dq(self, shape: tuple[int, int, int]) -> torch.Tensor:
        """Return an uninitialised (G, R·T, D) in the place of the block's query, used by then."""
        return _part(self._query, shape)

    def forget(self) -> None:
        """Say that the next keys and values are another head's."""
        self._packed.clear()

    def _chunks(
        self, name: str, source_GSW: torch.Tensor, start: int, stop: int
    ) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Yield (start, stop, rows) of keys or values, contiguous and in the compute dtype.

        Few rows are copied once a head and kept, many are copied chunk by chunk for every block;
        rows that need no copy are passed through whole.
        """
        whole = self._packed.get(name)
        if whole is None:
            whole = self._pack(name, source_GSW)
        if whole is not None:
            yield start, stop, whole.narrow(1, start, stop - start)
            return
        G, _, W = source_GSW.shape
        buffer = self._keys if name == "key" else self._values
        for first in range(start, stop, self.size.chunk):
            count = min(stop - first, self.size.chunk)
            part = _part(buffer, (G, count, W))
            yield first, first + count, part.copy_(source_GSW.narrow(1, first, count))

    def _pack(self, name: str, source_GSW: torch.Tensor) -> torch.Tensor | None:
        """Return all rows in one piece if they are so already or fit the buffer."""
        if self._usable(source_GSW):
            self._packed[name] = source_GSW
            return source_GSW
        if source_GSW.shape[1] > self.size.chunk:
            return None
        buffer = self._keys if name == "key" else self._values
        whole = self._packed[name] = _part(buffer, source_GSW.shape).copy_(source_GSW)
        return whole

    def _usable(self, source: torch.Tensor) -> bool:
        """Whether keys or values are in the compute dtype, row after row: no copy is needed."""
        return source.dtype == self.dtype and source.stride()[-2:] == (source.shape[-1], 1)

    def times_transposed(
        self, rows: torch.Tensor, name: str, source: torch.Tensor, start: int, out: torch.Tensor,
        factor: float = 1.0,
    ) -> torch.Tensor:  # fmt: skip
        """Fill ``out`` (G, N, S) with factor · ``rows`` (G, N, W) · (keys or values)ᵀ.

        A product may apply its factor to the rows, which rounds them once more; only a power of
        two rounds nothing. Any other factor therefore comes after the product.
        """
        exact = math.frexp(factor)[0] == 0.5
        for first, last, part in self._chunks(name, source, start, start + out.shape[-1]):
            target = out.narrow(2, first - start, last - first)
            target.baddbmm_(rows, part.transpose(1, 2), beta=0, alpha=factor if exact else 1.0)
        return out if exact else out.mul_(factor)

    def times(
        self, weights: torch.Tensor, name: str, source: torch.Tensor, start: int, out: torch.Tensor,
        factor: float = 1.0, add: bool = False,
    ) -> torch.Tensor:  # fmt: skip
        """Set ``out`` (G, N, W) to factor · ``weights`` (G, N, S) · (keys or values), or add it."""
        for first, last, part in self._chunks(name, source, start, start + weights.shape[-1]):
            weight = weights.narrow(2, first - start, last - first)
            beta = 1 if add or first > start else 0
            out.baddbmm_(weight, part, beta=beta, alpha=factor)
        return out


def _part(buffer: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the beginning of a flat buffer as a contiguous tensor of ``shape``."""
    _, middle, last = shape
    return buffer.as_strided(shape, (middle * last, last, 1))


def _flat_copy(buffer: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    G, R, T, W = source.shape
    part = _part(buffer, (G, R * T, W))
    part.view(G, R, T, W).copy_(source)
    return part
