"""What each of xformers' masks means for a call, by the mask's class name.

By name, since a mask may come from the real package or from its stand-in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attnswitch.errors import UnavailableError
from attnswitch.seams.package.attention.call import Packing

Meaning = dict[str, Any]


def meaning_of(mask: Any) -> Meaning:
    """Fields of an `AttentionCall` that say what `mask` (no tensor) says.

    Raises:
        UnavailableError: a mask that is not implemented, by its name.
    """
    read = _READERS.get(type(mask).__name__)
    if read is None:
        raise UnavailableError(
            f"memory_efficient_attention: attn_bias of type {type(mask).__name__} is not "
            f"implemented by attnswitch (known: {', '.join(sorted(_READERS))})",
            remedy="Ask for 'auto' to leave the choice to the project",
        )
    return read(mask)


def _packing(mask: Any) -> Packing:
    return Packing(tuple(mask.q_seqinfo.seqstart_py), tuple(mask.k_seqinfo.seqstart_py))


def _causal(alignment: str) -> Callable[[Any], Meaning]:
    return lambda mask: {"causal": True, "alignment": alignment}


def _local(alignment: str) -> Callable[[Any], Meaning]:
    """The last `_window_size` keys, the row's own among them: one less to the left of it."""
    return lambda mask: {
        "causal": True, "alignment": alignment, "window": (mask._window_size - 1, 0),
    }  # fmt: skip


def _in_blocks(within: Callable[[Any], Meaning]) -> Callable[[Any], Meaning]:
    return lambda mask: {**within(mask), "packing": _packing(mask)}


_READERS: dict[str, Callable[[Any], Meaning]] = {
    "LowerTriangularMask": _causal("top-left"),
    "LowerTriangularMaskWithTensorBias": lambda mask: {
        "causal": True, "alignment": "top-left", "bias": mask._bias,
    },
    "LowerTriangularFromBottomRightMask": _causal("bottom-right"),
    "LowerTriangularFromBottomRightLocalAttentionMask": _local("bottom-right"),
    "LocalAttentionFromBottomRightMask": lambda mask: {
        "alignment": "bottom-right", "window": (mask.window_left, mask.window_right),
    },
    "BlockDiagonalMask": _in_blocks(lambda mask: {}),
    "BlockDiagonalCausalMask": _in_blocks(_causal("top-left")),
    "BlockDiagonalCausalFromBottomRightMask": _in_blocks(_causal("bottom-right")),
    "BlockDiagonalCausalLocalAttentionMask": _in_blocks(_local("top-left")),
    "BlockDiagonalCausalLocalAttentionFromBottomRightMask": _in_blocks(_local("bottom-right")),
}  # fmt: skip
