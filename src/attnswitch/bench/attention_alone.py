"""Attention alone: the attention of one layer, on random q, k and v, as a model of one site.

So a geometry whose weights would not fit here can be measured: what it takes is one layer's q, k,
v. The site follows transformers' table of attention functions as the model's own layers do, and its
eager code is that of the model's own source, so that it is switched, guarded and watched as they
are. Left out: projections, rotary embedding, everything that is not softmax(QKᵀ·scale + mask)V.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from attnswitch.bench.workload import Ready, Workload


@dataclass(frozen=True)
class AttentionShape:
    """The attention of one layer, and how many such layers the model has.

    `heads` query heads on `groups` key-value heads, each `width` wide; `model_type` is
    transformers' name of the part it belongs to ("qwen2", "siglip_vision_model").
    """

    role: Literal["vision_tower", "language_model"]
    model_type: str
    heads: int
    groups: int
    width: int
    layers: int
    causal: bool


class OneAttention(torch.nn.Module):
    """One layer's attention; its config's name decides which function, as in transformers."""

    def __init__(self, shape: AttentionShape):
        super().__init__()
        self.config = SimpleNamespace(_attn_implementation="sdpa", model_type=shape.model_type)
        self.is_causal = shape.causal
        self.num_key_value_groups = shape.heads // shape.groups
        self.head_dim = shape.width
        self.scaling = shape.width**-0.5
        self._eager = importlib.import_module(type(self).__module__).eager_attention_forward
        self._triangle: torch.Tensor | None = None

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """query [B, H, T, D], key and value [B, G, S, D]; returns [B, T, H, D]."""
        name = self.config._attn_implementation
        mask = None
        if name == "eager":
            attend, mask = self._eager, self._mask(query, key)
        else:
            attend = ALL_ATTENTION_FUNCTIONS[name]
        return attend(self, query, key, value, mask, dropout=0.0, scaling=self.scaling)[0]

    def _mask(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
        """What the model hands to eager code, [1, 1, T, S]; made once, as once for all layers."""
        if not self.is_causal:
            return None
        rows, keys = query.shape[2], key.shape[2]
        mask = self._triangle
        if mask is None or mask.shape[2:] != (rows, keys) or mask.dtype != query.dtype:
            low = torch.finfo(query.dtype).min
            full = torch.full((rows, keys), low, dtype=query.dtype, device=query.device)
            mask = self._triangle = full.triu(keys - rows + 1)[None, None]
        return mask


class AttentionAlone(torch.nn.Module):
    """A model of one site, whose path says what it belongs to."""

    def __init__(self, shape: AttentionShape):
        super().__init__()
        part = torch.nn.Module()
        part.add_module("self_attn", _class_in(_source_of(shape.model_type))(shape))
        self.add_module(shape.role, part)
        self._site = part.self_attn

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """The site's forward."""
        return self._site(*tensors)


def attention_alone(shape: AttentionShape, workload: Workload, views: int = 1) -> Ready:
    """One layer's attention in the workload's phase; a call's seconds count `layers` times.

    `views` is how many pictures the tower sees an item. The tensors are strided as projections
    leave them.
    """
    dtype = getattr(torch, workload.dtype)
    batch = workload.batch * (views if shape.role == "vision_tower" else 1)
    keys = workload.tokens
    rows = 1 if workload.phase == "decode" else keys
    training = workload.phase == "training"

    def tensor(heads: int, tokens: int) -> torch.Tensor:
        made = torch.randn(batch, tokens, heads, shape.width, device=workload.device)
        return made.to(dtype).transpose(1, 2).requires_grad_(training)

    tensors = (tensor(shape.heads, rows), tensor(shape.groups, keys), tensor(shape.groups, keys))
    model = AttentionAlone(shape)
    call = _forward_and_backward(model, tensors) if training else _forward(model, tensors)
    return Ready(workload, model, call, scale=float(shape.layers))


def _forward(model: Any, tensors: tuple[torch.Tensor, ...]) -> Any:
    def call() -> Any:
        with torch.no_grad():
            return model(*tensors)

    return call


def _forward_and_backward(model: Any, tensors: tuple[torch.Tensor, ...]) -> Any:
    query = tensors[0]
    upstream = torch.randn_like(query.transpose(1, 2))

    def call() -> None:
        for tensor in tensors:
            tensor.grad = None
        model(*tensors).backward(upstream)

    return call


def _source_of(model_type: str) -> str:
    """The module of transformers that holds a model type's attention."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    name = model_type_to_module_name(model_type)
    return f"transformers.models.{name}.modeling_{name}"


def _class_in(source: str) -> type[OneAttention]:
    """`OneAttention` as a class of that module, beside whose eager code it is looked for."""
    importlib.import_module(source)
    return type("OneAttention", (OneAttention,), {"__module__": source})
