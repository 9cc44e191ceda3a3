"""The forward passes of attention classes without SDPA, written by way of SDPA.

Each takes the module, the class's own forward and the choice in force, then what the class's
forward takes, and returns the same. Letters: B batch, T query rows, S key rows, H heads, G key
and value heads, E head width.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from attnswitch.errors import UnavailableError
from attnswitch.types import Choice

Own = Callable[..., Any]


def clip(
    self: Any,
    own: Own,
    choice: Choice,
    hidden_states: Any,
    attention_mask: Any = None,
    causal_attention_mask: Any = None,
    output_attentions: bool | None = False,
) -> Any:
    """CLIPAttention before 4.45: two additive masks [B, 1, T, S]; no key-value cache."""
    if output_attentions:
        _refuse_weights(choice)
        return own(self, hidden_states, attention_mask, causal_attention_mask, True)
    mask = _sum_of_masks(attention_mask, causal_attention_mask)
    return _encode(self, hidden_states, mask), None


def siglip(
    self: Any,
    own: Own,
    choice: Choice,
    hidden_states: Any,
    attention_mask: Any = None,
    output_attentions: bool | None = False,
) -> Any:
    """SiglipAttention before 4.45: one additive mask [B, 1, T, S]; no key-value cache."""
    if output_attentions:
        _refuse_weights(choice)
        return own(self, hidden_states, attention_mask, True)
    return _encode(self, hidden_states, attention_mask), None


def llama(
    self: Any,
    own: Own,
    choice: Choice,
    hidden_states: Any,
    attention_mask: Any = None,
    position_ids: Any = None,
    past_key_value: Any = None,
    output_attentions: bool = False,
    use_cache: bool = False,
    **kwargs: Any,
) -> Any:
    """LlamaAttention of 4.31 to 4.35: additive mask [B, 1, T, S], a pair of tensors as cache."""
    sliced = getattr(self, "pretraining_tp", getattr(self.config, "pretraining_tp", 1)) > 1
    if output_attentions or sliced:
        _refuse_weights(choice, "sliced projections (pretraining_tp > 1)" if sliced else None)
        return own(self, hidden_states, attention_mask, position_ids, past_key_value,
                   output_attentions, use_cache, **kwargs)  # fmt: skip
    import torch

    code = sys.modules[_home(self).__module__]
    q_BHTE = _heads(self.q_proj(hidden_states), self.num_heads, self.head_dim)
    k_BGSE = _heads(self.k_proj(hidden_states), self.num_key_value_heads, self.head_dim)
    v_BGSE = _heads(self.v_proj(hidden_states), self.num_key_value_heads, self.head_dim)
    before = past_key_value[0].shape[2] if past_key_value is not None else 0
    cos, sin = self.rotary_emb(v_BGSE, seq_len=k_BGSE.shape[2] + before)
    q_BHTE, k_BGSE = code.apply_rotary_pos_emb(q_BHTE, k_BGSE, cos, sin, position_ids)
    if past_key_value is not None:
        k_BGSE = torch.cat([past_key_value[0], k_BGSE], dim=2)
        v_BGSE = torch.cat([past_key_value[1], v_BGSE], dim=2)
    cache = (k_BGSE, v_BGSE) if use_cache else None
    out_BHTE = torch.nn.functional.scaled_dot_product_attention(
        q_BHTE,
        code.repeat_kv(k_BGSE, self.num_key_value_groups),
        code.repeat_kv(v_BGSE, self.num_key_value_groups),
        attn_mask=attention_mask,
    )
    return self.o_proj(out_BHTE.transpose(1, 2).flatten(2)), None, cache


def _encode(self: Any, hidden_states: Any, mask: Any) -> Any:
    """An encoder's attention: [B, T, H·E] in and out, as CLIP and SigLIP lay it out."""
    import torch

    out_BHTE = torch.nn.functional.scaled_dot_product_attention(
        _heads(self.q_proj(hidden_states), self.num_heads, self.head_dim),
        _heads(self.k_proj(hidden_states), self.num_heads, self.head_dim),
        _heads(self.v_proj(hidden_states), self.num_heads, self.head_dim),
        attn_mask=mask,
        dropout_p=self.dropout if self.training else 0.0,
        scale=self.scale,
    )
    return self.out_proj(out_BHTE.transpose(1, 2).flatten(2))


def _heads(projected: Any, heads: int, width: int) -> Any:
    """[B, T, H·E] to [B, H, T, E]."""
    batch, rows, _ = projected.shape
    return projected.view(batch, rows, heads, width).transpose(1, 2)


def _sum_of_masks(first: Any, second: Any) -> Any:
    """Two additive masks as one; a sum below the dtype's range is its smallest number."""
    import torch

    if first is None or second is None:
        return first if second is None else second
    return (first + second).clamp_min(torch.finfo(first.dtype).min)


def _home(self: Any) -> type:
    """The transformers class behind a module, whose code's helpers its forward uses."""
    return next(k for k in type(self).__mro__ if k.__module__.startswith("transformers.models."))


def _refuse_weights(choice: Choice, what: str | None = None) -> None:
    """Attention weights exist in the class's own code only, which is standard attention."""
    if not choice.bars_flash:
        raise UnavailableError(
            f"{choice.source} asks for {choice.requested!r}, which cannot do "
            f"{what or 'output_attentions=True: it never has the weights'}",
            remedy="Ask for 'standard' or 'auto'",
        )
