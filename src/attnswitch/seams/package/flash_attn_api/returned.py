"""What flash_attn's functions return: the output, or also the log-sum-exp and the weights."""

from __future__ import annotations

import torch

from attnswitch.errors import UnavailableError
from attnswitch.seams.package.attention.call import AttentionResult


def returned(
    function: str, found: AttentionResult, return_attn_probs: bool, dropout_p: float
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The output alone, or (output, log-sum-exp, weights), the weights empty as without dropout.

    Raises:
        UnavailableError: the weights with dropout applied were asked for.
    """
    if not return_attn_probs:
        return found.out
    if dropout_p:
        raise UnavailableError(
            f"{function}: return_attn_probs together with dropout_p (the matrix S_dmask) is not "
            "implemented by attnswitch",
            remedy="Ask for one of the two",
        )
    assert found.lse is not None
    return found.out, found.lse, found.out.new_empty(0)
