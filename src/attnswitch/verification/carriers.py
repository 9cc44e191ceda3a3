"""How each backend carries out one call at one site, "eager" included.

Eager is the model's own code. transformers keeps it as the function `eager_attention_forward`
beside the attention class; it is given the mask in the form that transformers makes for it.
"""

from __future__ import annotations

import torch

from attnswitch.backends import attend_with, eager
from attnswitch.errors import UnavailableError
from attnswitch.verification.answering import Place
from attnswitch.verification.attention_call import AttentionCall


def carry_out(backend: str, place: Place, call: AttentionCall) -> torch.Tensor:
    """[B, H, T, E] as `backend` computes it.

    Raises:
        UnavailableError: the backend cannot take this call; eager code was not found.
    """
    if backend == "eager":
        return _eager(place, call)
    return call.carried_out_by(attend_with(backend))


def _eager(place: Place, call: AttentionCall) -> torch.Tensor:
    function = eager.function_of(place.module)
    if function is None:
        raise UnavailableError(
            f"eager attention of {place.site.path or 'this model'} cannot be judged on its own",
            reasons=[f"{type(place.module).__name__} has no {eager.FUNCTION} beside it"],
            remedy="Judge another backend, or compare whole runs: attnswitch compare",
        )
    out_BTHE = function(
        place.module, call.query, call.key, call.value, _eager_mask(call),
        scaling=call.factor, dropout=0.0,
    )[0]  # fmt: skip
    return out_BTHE.transpose(1, 2)


def _eager_mask(call: AttentionCall) -> torch.Tensor | None:
    """Added to the scores in the query's dtype: 0, or the lowest number of that dtype."""
    rows = torch.arange(call.query.shape[-2], device=call.query.device)
    mask = call.mask_of_rows(slice(None), slice(None), rows)
    if mask is None or mask.dtype != torch.bool:
        return mask if mask is None else mask.to(call.query.dtype)
    return eager.as_added(mask, call.query.dtype)
