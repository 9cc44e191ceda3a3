"""The site seam: transformers' table of attention functions, for models switched by `apply`.

`apply` leaves the name "sdpa" in a model's config, so that its masks and its checks stay those of
SDPA, and writes a choice on each attention module. The table's "sdpa" function is replaced by one
that looks at the module first. A module without a choice gets transformers' own function, so
other models are untouched; compiled code specialises on the module and keeps its choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from attnswitch import intent
from attnswitch.backends import attend_with
from attnswitch.errors import UnavailableError
from attnswitch.seams import own_eager, packed_rows
from attnswitch.types import AttentionCall

_original: Callable[..., Any] | None = None
_holders = 0

# Arguments that change the result of attention; a backend here does not take them.
_MEANINGFUL = ("softcap", "s_aux", "sinks", "alibi", "cache")


def hold() -> None:
    """Stand in the table; the first holder installs, later ones count."""
    global _original, _holders
    table = _table()
    if _holders == 0:
        _original = table["sdpa"]
        table["sdpa"] = attend_at_site
    _holders += 1


def release() -> None:
    """Leave the table when the last holder is gone."""
    global _original, _holders
    _holders -= 1
    if _holders == 0:
        _table()["sdpa"] = _original
        _original = None


def _table() -> Any:
    """The mapping that all of transformers' attention tables share."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    return getattr(type(ALL_ATTENTION_FUNCTIONS), "_global_mapping", ALL_ATTENTION_FUNCTIONS)


def attend_at_site(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one module by its choice, in the form transformers expects.

    query [B, H, T, D], key and value [B, G, S, D]; returns ([B, T, H, E], None). The causal flag
    holds only without a mask and with more than one query row, as in transformers' function; the
    unused tail of a static cache is cut off, since SDPA's causal triangle is aligned top-left.
    """
    choice = intent.of_module(module)
    wanted = getattr(module, "is_causal", True) if is_causal is None else is_causal
    rows = query.shape[2]
    causal = bool(wanted) and attention_mask is None and rows > 1
    if choice is not None:
        choice = intent.for_call(choice, AttentionCall(query, key, attention_mask, causal, module))
    backend = "auto" if choice is None else choice.backend
    if backend == "auto" and not own_eager.is_projects_own(module):
        assert _original is not None
        return _original(
            module, query, key, value, attention_mask,
            dropout=dropout, scaling=scaling, is_causal=is_causal, **kwargs,
        )  # fmt: skip
    if choice is None or backend in ("auto", "eager"):
        return own_eager.attend(
            module, query, key, value, attention_mask, dropout, scaling, causal, **kwargs
        )
    _refuse_what_is_not_implemented(choice, kwargs)
    if attention_mask is None and kwargs.get("cu_seq_lens_q") is not None:
        asked = {"causal": bool(wanted), "dropout_p": dropout, "scale": scaling}
        return packed_rows.attend(choice.backend, query, key, value, asked, kwargs), None
    if causal and key.shape[2] > rows:
        key, value = key[:, :, :rows], value[:, :, :rows]
    bias = kwargs.get("position_bias")
    if bias is not None:
        attention_mask = _with_bias(bias[..., : key.shape[2]], attention_mask, causal)
        causal = False
    out_BHTE = attend_with(choice.backend)(
        query, key, value, attention_mask, dropout, causal,
        scale=scaling, enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    return out_BHTE.transpose(1, 2).contiguous(), None


def _with_bias(bias_BHTS: torch.Tensor, mask: torch.Tensor | None, causal: bool) -> torch.Tensor:
    """A bias by position, added to the scores where the mask (or the triangle) lets a row look.

    What is hidden gets the lowest finite number, as in transformers' own function: a row that sees
    nothing is then no NaN.
    """
    if mask is None and not causal:
        return bias_BHTS
    if mask is None:
        rows, keys = bias_BHTS.shape[-2:]
        mask = torch.ones(rows, keys, dtype=torch.bool, device=bias_BHTS.device).tril()
    if mask.dtype != torch.bool:
        return bias_BHTS + mask
    return torch.where(mask, bias_BHTS, torch.finfo(bias_BHTS.dtype).min)


def _refuse_what_is_not_implemented(choice: Any, kwargs: dict[str, Any]) -> None:
    packed = kwargs.get("cu_seq_lens_q") is not None  # where a bias by position has no form
    for name in (*_MEANINGFUL, "position_bias") if packed else _MEANINGFUL:
        if kwargs.get(name) is not None:
            remedy = "Ask for 'auto' or 'eager' for this model"
            if name == "cache":  # continuous batching's pages, which transformers' own code gathers
                remedy = "Switch the process with attnswitch.use(), which leaves the cache in place"
            raise UnavailableError(
                f"this model passes {name!r} to its attention, which {choice.backend!r} does not "
                "take here; it is not dropped in silence",
                remedy=remedy,
            )
