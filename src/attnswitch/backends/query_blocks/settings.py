"""The numbers and switches of one attention call, checked once at the edge."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Settings(NamedTuple):
    """Everything about a call that is not a tensor, in the order of the operator's schema.

    ``softcap`` 0 is none; windows count keys beside the diagonal, −1 is no limit; ``block_rows`` 0
    lets the shapes decide. ``keep_plan`` allows a recognised mask to be remembered.
    """

    dropout_p: float
    is_causal: bool
    bottom_right: bool
    scale: float
    softcap: float
    window_left: int
    window_right: int
    block_rows: int
    keep_plan: bool

    @property
    def window(self) -> tuple[int, int]:
        """The window's two sides."""
        return self.window_left, self.window_right


def compute_dtype(tensor: torch.Tensor) -> torch.dtype:
    """Scores are float32 whatever the input; float64 stays float64."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
