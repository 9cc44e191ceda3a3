"""Name a backend by its output: bitwise equal to what exactly one backend gives for these inputs.

For attention that nothing else sees, such as an operator of a project's own. What the operator
does with its further arguments is unknown, so each backend is tried with causal masking and
without, and with heads before tokens and after; an output that two backends give, as with a single
key, names none. Takes the idea of naming a kernel by bitwise identity from unsloth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attnswitch import guard
from attnswitch.backends import attend_with
from attnswitch.backends.catalogue import CATALOGUE

# More score elements than these are not computed anew: a try costs up to a dozen evaluations.
MOST_SCORES = 2**26
_MASKS = ("attn_mask", "attn_bias", "mask", "bias")
_SCALES = ("scale", "softmax_scale", "sm_scale")


def takes_attention(args: tuple[Any, ...]) -> bool:
    """Whether the first three arguments can be query, key and value [B, H, T, D]."""
    import torch

    if len(args) < 3 or not all(isinstance(a, torch.Tensor) and a.ndim == 4 for a in args[:3]):
        return False
    query, key, value = args[:3]
    return query.shape[-1] == key.shape[-1] and key.shape[:-1] == value.shape[:-1]


def backend_of(args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> str | None:
    """The one backend whose output equals `output`, or None.

    Args:
        args: query, key, value first; what follows is not read.
        kwargs: a mask and a scale are taken from here, by their usual names.
        output: [B, H, T, E] or [B, T, H, E] as the query, or a sequence that begins with it.
    """
    import torch

    query, key, value = (a.detach() for a in args[:3])
    output = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(output, torch.Tensor) or output.shape[:-1] != query.shape[:-1]:
        return None
    if query.shape[:-1].numel() * max(key.shape[1], key.shape[2]) > MOST_SCORES:
        return None
    mask = next((kwargs[name] for name in _MASKS if kwargs.get(name) is not None), None)
    scale = next((kwargs[name] for name in _SCALES if kwargs.get(name) is not None), None)
    found = set()
    with torch.no_grad(), guard.uncounted():
        for name, attend in _candidates(query):
            for swapped, causal in itertools.product((False, True), repeat=2):
                inputs = [t.transpose(1, 2) if swapped else t for t in (query, key, value)]
                result = _attempt(attend, inputs, mask, causal and mask is None, scale)
                if result is not None and swapped:
                    result = result.transpose(1, 2)
                if result is not None and torch.equal(result, output):
                    found.add(name)
    return found.pop() if len(found) == 1 else None


def _candidates(query: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Backends that can run on the query's device, with plain code of three lines as `eager`."""
    yield "eager", _by_hand
    for name, spec in CATALOGUE.items():
        barred = spec.family == "flash" and guard.is_up()
        here = spec.devices is None or query.device.type in spec.devices
        if spec.requestable and name not in ("eager", "reference") and here and not barred:
            yield name, attend_with(name)


def _attempt(
    attend: Callable[..., Any], inputs: list[Any], mask: Any, causal: bool, scale: float | None
) -> Any:
    groups = inputs[0].shape[1] != inputs[1].shape[1]
    try:
        return attend(*inputs, mask, 0.0, causal, scale=scale, enable_gqa=groups)
    except Exception:  # a backend that cannot take the call did not run it
        return None


def _by_hand(
    query: Any, key: Any, value: Any, mask: Any, dropout: float, causal: bool, *,
    scale: float | None, enable_gqa: bool,
) -> Any:  # fmt: skip
    """softmax(Q·Kᵀ·scale + mask)·V as models write it."""
    import torch

    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], 1) for t in (key, value))
    scores = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    if mask is not None:
        masked = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if masked else scores + mask
    return torch.softmax(scores, dim=-1) @ value


__all__ = ["backend_of", "takes_attention"]
