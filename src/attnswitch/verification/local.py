"""Local error: at every site the same q, k, v and mask go through each implementation.

One pass of the model. Each attention call is answered by the yardstick, so that every site is
judged on healthy inputs, and what others would have answered is compared with the float64
reference and dropped at once: memory beyond the pass is one attention call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.backends import attend_with, exact, replace_backend
from attnswitch.errors import AttnSwitchError
from attnswitch.policy.requests import Request
from attnswitch.sites import find_sites
from attnswitch.switch import apply
from attnswitch.types import Site
from attnswitch.verification.rule import Judgement, judge

YARDSTICK = Request("yardstick", "backend", "verify")
REFERENCE = Request("reference", "backend", "verify")


@dataclass(frozen=True)
class LocalError:
    """One backend judged at one attention call of one site."""

    site: Site
    phase: str
    backend: str
    judgement: Judgement

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, in the form of `attnswitch.verification/1`'s sites."""
        return {
            "site": self.site.path,
            "role": self.site.role,
            "phase": self.phase,
            "backend": self.backend,
            "local": self.judgement.to_json(),
        }


def local_errors(
    model: Any,
    backends: Sequence[str],
    forward: Callable[[], Any],
    rows_to_judge: torch.Tensor | None = None,
) -> list[LocalError]:
    """Run `forward` once and judge each of `backends` at every attention call in it.

    Args:
        model: the model that `forward` runs.
        backends: names to judge; "eager" cannot be judged here (it is the model's own code) and
            is left out.
        forward: runs the model once, without gradients.
        rows_to_judge: [B, T] bool, False at padding; applied to the language model's queries
            where their number is T.

    Raises:
        UnavailableError: a site cannot be redirected, so its inputs cannot be had.
    """
    found: list[LocalError] = []
    judged = [name for name in dict.fromkeys(backends) if name not in ("eager", "auto")]
    with _following(model) as current:

        def answer(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            site = current[-1] if current else Site("", "other")
            call = (query, key, value, *args)
            standard = exact.yardstick(*call, **kwargs)
            truth = exact.compute(*call, **kwargs, dtype=torch.float64)
            rows = _rows_for(site, query, rows_to_judge)
            for name in judged:
                other = attend_with(name)(*call, **kwargs)
                judgement = judge(_select(other, rows), _select(standard, rows),
                                  _select(truth, rows))  # fmt: skip
                found.append(LocalError(site, _phase(site, query), name, judgement))
            return standard

        replace_backend("yardstick", answer)
        try:
            with apply(model, YARDSTICK), torch.no_grad():
                forward()
        finally:
            replace_backend("yardstick", None)
    if judged and not found:
        raise AttnSwitchError("no attention call was seen in the pass that was to be judged")
    return found


def _phase(site: Site, query: torch.Tensor) -> str:
    if site.role in ("vision_tower", "projector"):
        return "vision"
    return "decode" if query.shape[-2] == 1 else "prefill"


def _rows_for(site: Site, query: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor | None:
    """[B, T] where it applies to this call: language sites with as many query rows."""
    if rows is None or site.role in ("vision_tower", "projector"):
        return None
    if query.ndim != 4 or (query.shape[0], query.shape[2]) != tuple(rows.shape):
        return None
    return rows


def _select(out_BHTE: torch.Tensor, rows_BT: torch.Tensor | None) -> torch.Tensor:
    """Leave padding rows out: [B, H, T, E] to [rows, H, E]."""
    if rows_BT is None:
        return out_BHTE
    return out_BHTE.transpose(1, 2)[rows_BT.to(out_BHTE.device)]


@contextmanager
def _following(model: Any) -> Iterator[list[Site]]:
    """A list whose last entry is the site that is running."""
    running: list[Site] = []
    handles = []
    for site, module in find_sites(model).values():
        handles.append(module.register_forward_pre_hook(lambda *_, s=site: running.append(s)))
        handles.append(
            module.register_forward_hook(lambda *_: running.pop() and None, always_call=True)
        )
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()
