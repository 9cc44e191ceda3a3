"""Stand at every attention site of a model, and answer its calls.

The model runs under `apply` with a backend of its own name; what that backend does is a function
given here, which is told the site that calls. Nothing is left on the model afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.backends import replace_backend
from attnswitch.errors import InputError
from attnswitch.policy.requests import Request
from attnswitch.sites import find_sites
from attnswitch.switch import apply
from attnswitch.types import Site
from attnswitch.verification.attention_call import AttentionCall
from attnswitch.verification.where_possible import where_possible

YARDSTICK = Request("yardstick", "backend", "verify")
REFERENCE = Request("reference", "backend", "verify")


@dataclass(frozen=True)
class Place:
    """The site that is running, and its module (None outside every known site)."""

    site: Site
    module: Any = None


NOWHERE = Place(Site("", "other"))
Answer = Callable[[Place, AttentionCall], torch.Tensor]


@contextmanager
def answering(model: Any, answer: Answer) -> Iterator[None]:
    """Let `answer(place, call)` -> [B, H, T, E] stand for attention at every site of `model` that
    takes another kernel than the model's own code."""

    def stand_in(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        if dropout_p:
            raise InputError("attention with dropout has no one answer to judge: call model.eval()")
        place = running[-1] if running else NOWHERE
        if query.ndim == 3:
            query, key, value = (t.unsqueeze(0) for t in (query, key, value))
            call = AttentionCall(query, key, value, attn_mask, is_causal, scale)
            return answer(place, call)[0]
        return answer(place, AttentionCall(query, key, value, attn_mask, is_causal, scale))

    with following(model) as running:
        replace_backend("yardstick", stand_in)
        try:
            with apply(model, where_possible(model, YARDSTICK)):
                yield
        finally:
            replace_backend("yardstick", None)


@contextmanager
def following(model: Any) -> Iterator[list[Place]]:
    """A list whose last entry is the place that is running."""
    running: list[Place] = []
    handles = []
    for site, module in find_sites(model).values():
        place = Place(site, module)
        handles.append(module.register_forward_pre_hook(lambda *_, p=place: running.append(p)))
        handles.append(
            module.register_forward_hook(lambda *_: running.pop() and None, always_call=True)
        )
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()


def phase_at(site: Site, rows: int) -> str:
    """Vision for towers and projectors; else one query row is decode, several are prefill."""
    if site.role in ("vision_tower", "projector"):
        return "vision"
    return "decode" if rows == 1 else "prefill"


def rows_that_count(
    site: Site, batch: int, rows: int, padding_BT: torch.Tensor | None
) -> torch.Tensor | None:
    """[B, T] bool, False at padding, where the mask given for the prompt fits this call."""
    if padding_BT is None or site.role in ("vision_tower", "projector"):
        return None
    return padding_BT if tuple(padding_BT.shape) == (batch, rows) else None
