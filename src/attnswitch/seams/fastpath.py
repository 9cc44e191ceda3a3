"""PyTorch's fast path for nn.MultiheadAttention and encoder layers passes SDPA by: close it.

While a request is in force the ordinary path is taken, which the operator seam sees.
"""

from __future__ import annotations

import threading

_holders = 0
_lock = threading.Lock()  # modules hold and release on several threads
_was_enabled = True


def hold() -> None:
    """Close the fast path; the first holder remembers how it stood."""
    global _holders, _was_enabled
    import torch

    with _lock:
        if _holders == 0 and hasattr(torch.backends, "mha"):
            _was_enabled = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
        _holders += 1


def release() -> None:
    """Put the fast path back as it stood when the last holder lets go."""
    global _holders
    import torch

    with _lock:
        _holders -= 1
        if _holders == 0 and hasattr(torch.backends, "mha"):
            torch.backends.mha.set_fastpath_enabled(_was_enabled)
