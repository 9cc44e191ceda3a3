"""Attention alone: one layer's softmax(QKᵀ·scale + mask)V on random q, k and v, as a small model.

So a geometry whose weights would not fit here can be measured: what it takes is one layer's q, k,
v. A site follows transformers' table of attention functions as the model's own layers do, and its
eager code is that of the model's own source, so that it is switched, guarded and watched as they
are. Left out: projections, rotary embedding, and the making of masks, once for all layers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from attnswitch.bench.workload import Piece, Ready, Workload
from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.samples import sample
from attnswitch.geometries.workloads import AttentionWorkload, attention_workloads


class OneAttention(torch.nn.Module):
    """One layer's attention; its config's name decides which function, as in transformers."""

    def __init__(self, calls: AttentionWorkload):
        super().__init__()
        self.config = SimpleNamespace(_attn_implementation="sdpa")
        self.is_causal = calls.role == "language_model"
        self.num_key_value_groups = calls.heads // calls.kv_heads
        self.head_dim = calls.head_dim
        self.scaling = calls.head_dim**-0.5
        self._eager = importlib.import_module(type(self).__module__).eager_attention_forward
        self._triangle: torch.Tensor | None = None

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """query [B, H, T, D], key and value [B, G, S, D]; returns [B, T, H, D]."""
        name = self.config._attn_implementation
        mask = None
        if name == "eager":
            attend, mask = self._eager, self._mask(query, key)
        else:
            attend = ALL_ATTENTION_FUNCTIONS[name]
        return attend(self, query, key, value, mask, dropout=0.0, scaling=self.scaling)[0]

    def _mask(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
        """What the model hands to eager code, [1, 1, T, S]."""
        if not self.is_causal:
            return None
        rows, keys = query.shape[2], key.shape[2]
        if self._triangle is None:
            low = torch.finfo(query.dtype).min
            full = torch.full((rows, keys), low, dtype=query.dtype, device=query.device)
            self._triangle = full.triu(keys - rows + 1)[None, None]
        return self._triangle


class AttentionAlone(torch.nn.Module):
    """A model of one site for each group of alike calls; a site's path says what it belongs to."""

    def __init__(self, geometry: Geometry, groups: tuple[AttentionWorkload, ...]):
        super().__init__()
        families = {
            "vision_tower": geometry.vision.family, "language_model": geometry.language.family
        }  # fmt: skip
        for calls in groups:
            if not hasattr(self, calls.role):
                self.add_module(calls.role, torch.nn.ModuleList())
            site = torch.nn.Module()
            site.add_module("self_attn", _class_in(_source_of(families[calls.role]))(calls))
            getattr(self, calls.role).append(site)
        self._sites = [module for module in self.modules() if isinstance(module, OneAttention)]

    def forward(self, group: int, *tensors: torch.Tensor) -> torch.Tensor:
        """The forward of one group's site."""
        return self._sites[group](*tensors)


def attention_alone(geometry: Geometry, workload: Workload) -> Ready:
    """The attention calls of the workload's phase: one of each kind, and how often each counts."""
    groups = attention_workloads(
        geometry, sample(geometry, **workload.size), phase=workload.phase, batch=workload.batch
    )
    model = AttentionAlone(geometry, groups)
    dtype = getattr(torch, workload.dtype)
    pieces = []
    for number, calls in enumerate(groups):
        tensors = calls.tensors(dtype, workload.device)
        run = _forward_and_backward if calls.backward else _forward
        pieces.append(Piece(run(model, number, tensors), float(calls.calls)))
    return Ready(workload, model, pieces)


def _forward(model: Any, group: int, tensors: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    def call() -> Any:
        with torch.no_grad():
            return model(group, *tensors)

    return call


def _forward_and_backward(
    model: Any, group: int, tensors: tuple[torch.Tensor, ...]
) -> Callable[[], object]:
    upstream = torch.randn_like(tensors[0].transpose(1, 2))

    def call() -> None:
        for tensor in tensors:
            tensor.grad = None
        model(group, *tensors).backward(upstream)

    return call


def _source_of(family: str) -> str:
    """The module of transformers that holds the attention of a model type."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    name = model_type_to_module_name(family)
    return f"transformers.models.{name}.modeling_{name}"


def _class_in(source: str) -> type[OneAttention]:
    """`OneAttention` as a class of that module, beside whose eager code it is looked for."""
    importlib.import_module(source)
    return type("OneAttention", (OneAttention,), {"__module__": source})
