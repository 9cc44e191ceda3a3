"""Compiled code remembers which kernel it was compiled for; a change of request makes it forget.

Dynamo's caches in memory, the operator's dispatch cache and the caches on disk would each go on
with the kernel of an earlier request: an armed process would run FlashAttention out of a bare
one's cache, and a bare one would silently run standard attention.
"""

from __future__ import annotations

import sys
from typing import Any


def forget(tag: str) -> None:
    """Drop compiled code, and key what is compiled from now on by `tag` ("" for no request)."""
    import torch

    forget_in_memory()
    _key_disk_caches(torch, f"attnswitch:{tag}" if tag else "")


def forget_in_memory() -> None:
    """Drop this process's compiled code, and what was remembered while tracing it; caches on disk
    stay as they are keyed."""
    import torch

    torch.ops.aten.scaled_dot_product_attention.default._dispatch_cache.clear()
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None:
        dynamo.reset()
    fake_tensor: Any = sys.modules.get("torch._subclasses.fake_tensor")
    cache_clear = getattr(getattr(fake_tensor, "FakeTensorMode", None), "cache_clear", None)
    if cache_clear is not None:
        cache_clear()


def _key_disk_caches(torch: Any, tag: str) -> None:
    config = getattr(getattr(torch, "compiler", None), "config", None)
    if config is not None and hasattr(config, "cache_key_tag"):
        config.cache_key_tag = tag
        return
    functorch_config: Any = sys.modules.get("torch._functorch.config")
    if functorch_config is not None and hasattr(functorch_config, "enable_autograd_cache"):
        functorch_config.enable_autograd_cache = not tag
