"""Attention backends: what each is (`catalogue`), and one file that carries each out.

`blockwise` is a public function with the signature of PyTorch's scaled_dot_product_attention.
Everything is imported on first use, so that importing this package imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnswitch.backends.query_blocks import blockwise as blockwise

__all__ = ["attend_with", "blockwise"]

_HOMES = {
    "blockwise": ("attnswitch.backends.query_blocks", "blockwise"),
    "math": ("attnswitch.backends.torch_math", "attend"),
    "reference": ("attnswitch.backends.exact", "reference"),
    "yardstick": ("attnswitch.backends.exact", "yardstick"),
    "efficient": ("attnswitch.backends.torch_efficient", "attend"),
    "flash": ("attnswitch.backends.torch_flash", "attend"),
    "flash_attn": ("attnswitch.backends.flash_attn_package", "attend"),
}
_loaded: dict[str, Callable[..., Any]] = {}


def attend_with(backend: str) -> Callable[..., Any]:
    """Return the function that runs `backend`.

    It takes `(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None,
    enable_gqa=False)` as PyTorch's scaled_dot_product_attention does: query [B, H, T, D], key
    [B, G, S, D], value [B, G, S, E] with H a multiple of G where `enable_gqa`; result
    [B, H, T, E] in the query's dtype. `is_causal` is aligned top-left.
    """
    function = _loaded.get(backend)
    if function is None:
        module, attribute = _HOMES[backend]
        function = _loaded[backend] = getattr(import_module(module), attribute)
    return function


def replace_backend(backend: str, function: Callable[..., Any] | None) -> None:
    """Let `function` stand in for `backend` (None: the real one again).

    For tests: a deliberately wrong backend shows that a check can fail.
    """
    if function is None:
        _loaded.pop(backend, None)
    else:
        _loaded[backend] = function


def __getattr__(name: str) -> Any:
    if name == "blockwise":
        return attend_with("blockwise")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
