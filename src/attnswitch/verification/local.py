"""Local error: at every site the same q, k, v and mask go through each implementation.

One pass of the model. Each attention call is answered by the yardstick, so that every site is
judged on healthy inputs, and what others would have answered is compared with the float64
reference and dropped at once: memory beyond the pass is one attention call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.backends import attend_with, exact
from attnswitch.errors import AttnSwitchError
from attnswitch.types import Site
from attnswitch.verification.answering import (
    REFERENCE,
    YARDSTICK,
    Place,
    answering,
    phase_at,
    rows_that_count,
)
from attnswitch.verification.attention_call import AttentionCall
from attnswitch.verification.rule import Judgement, judge

__all__ = ["REFERENCE", "YARDSTICK", "LocalError", "local_errors"]


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

    def answer(place: Place, call: AttentionCall) -> torch.Tensor:
        standard = call.carried_out_by(exact.yardstick)
        truth = exact.compute(
            call.query, call.key, call.value, call.attn_mask, 0.0, call.is_causal,
            scale=call.scale, enable_gqa=True, dtype=torch.float64,
        )  # fmt: skip
        batch, rows = call.query.shape[0], call.query.shape[-2]
        counting = rows_that_count(place.site, batch, rows, rows_to_judge)
        for name in judged:
            other = call.carried_out_by(attend_with(name))
            judgement = judge(_select(other, counting), _select(standard, counting),
                              _select(truth, counting))  # fmt: skip
            phase = phase_at(place.site, rows)
            found.append(LocalError(place.site, phase, name, judgement))
        return standard

    with answering(model, answer), torch.no_grad():
        forward()
    if judged and not found:
        raise AttnSwitchError("no attention call was seen in the pass that was to be judged")
    return found


def _select(out_BHTE: torch.Tensor, rows_BT: torch.Tensor | None) -> torch.Tensor:
    """Leave padding rows out: [B, H, T, E] to [rows, H, E]."""
    if rows_BT is None:
        return out_BHTE
    return out_BHTE.transpose(1, 2)[rows_BT.to(out_BHTE.device)]
