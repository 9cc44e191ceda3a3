"""Send the attention calls of code that runs on the meta device to the operators of a backend.

As the switch does on a real device, in PyTorch's dispatcher; left alone, meta tensors would take
the math kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch

from attnswitch.backends import attend_with, torch_efficient, torch_flash
from attnswitch.errors import InputError

BACKENDS = ("flash", "efficient", "blockwise", "math", "eager")
Attend = Callable[..., torch.Tensor]


def attend_on_meta(backend: str, device: str) -> Attend:
    """The function that makes `backend` run on meta tensors as it would on `device`.

    It takes what `attend_with` describes. `eager` is code in the model and no function.
    """
    if backend in ("blockwise", "math"):
        return attend_with(backend)
    if backend == "flash":
        return _flash_cpu if device == "cpu" else _flash_cuda
    if backend == "efficient":
        return _efficient
    raise InputError(f"no estimate for the backend {backend!r}; there are {', '.join(BACKENDS)}")


def _flash_cpu(
    q: Any, k: Any, v: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False, *,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    return torch_flash.on_cpu(q, k, v, mask, causal, scale)


def _flash_cuda(
    q: Any, k: Any, v: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False, *,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    return torch_flash.on_cuda(q, k, v, dropout, causal, scale)


def _efficient(
    q: Any, k: Any, v: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False, *,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    return torch_efficient.on_cuda(q, k, v, mask, dropout, causal, scale, enable_gqa)


class Routed:
    """While it is on, attention of meta tensors is `attend`, whoever calls it; process-wide.

    In backward too, where layers are recomputed. Nothing stays registered afterwards.
    """

    def __init__(self, attend: Attend):
        self._attend = attend
        self._library: Any = None

    def __enter__(self) -> Routed:
        self._library = torch.library.Library("aten", "IMPL")
        # Above autograd, where calls come by in no_grad too; PyTorch allows no kernel at "Meta".
        self._library.impl("scaled_dot_product_attention", self._route, "AutogradMeta")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._library._destroy()
        self._library = None

    def _route(
        self, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
        is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False,
    ) -> Any:  # fmt: skip
        return self._attend(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
