"""Local error of both runs: every site judged on the same inputs, once in each phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.comparison.runs import Run
from attnswitch.types import Receipt, Site
from attnswitch.verification.every_site import LocalErrors
from attnswitch.verification.rule import Judgement

# The model's own code at a site: it cannot be called on tensors of another's making everywhere.
NOT_JUDGED = (None, "auto", "eager")


@dataclass(frozen=True)
class LocalError:
    """One backend judged at one site in one phase, over all calls of it."""

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
    runs: Sequence[Run],
    passes: Sequence[tuple[Callable[[], Any], torch.Tensor | None]],
) -> list[LocalError]:
    """Judge what each run used at each site; sites in model order.

    Args:
        model: the model that the passes run.
        runs: whose receipts say which backend each used where.
        passes: what to run, and [B, T] bool, False at its padding (None: there is none).

    Sites that take no other kernel than the model's own code are passed over.
    """
    backends = {str(number): _backends(run.receipts) for number, run in enumerate(runs)}
    errors = LocalErrors(backends)
    for run, padding in passes:
        errors.watch(model, run, padding)
    found = []
    for (path, phase), at in errors.sites.items():
        by_backend = {backends[who][path]: pool for who, pool in at.pools.items() if pool.count}
        found += [
            LocalError(at.site, phase, backend, pool.judgement())
            for backend, pool in by_backend.items()
        ]
    return found


def _backends(receipts: Sequence[Receipt]) -> Mapping[str, str]:
    carried = {receipt.site: _carried_out(receipt) for receipt in receipts}
    return {
        site: backend
        for site, backend in carried.items()
        if site is not None and backend is not None and backend not in NOT_JUDGED
    }


def _carried_out(receipt: Receipt) -> str | None:
    """The backend to judge: the planned one, or what ran where the project chose for itself."""
    return receipt.backend if receipt.planned in (None, "auto") else receipt.planned
