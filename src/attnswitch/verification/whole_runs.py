"""Propagated error: whole runs under each request, against the run whose attention is exact.

What each site's module puts out is compared, and the logits. The reference is the whole model one
precision up (see `precise`). Runs follow one another, so some rows of each site's output are
kept from the reference and the yardstick, drawn with a seed: a few tens of KiB a call.

Rounding errors of a whole run are one draw, and the largest of a few hundred logits is a noisy
number. So before a whole run is said to fail, the yardstick runs again with every site's output
moved by a rounding (see `nudging`), and the largest of its errors is the one that is doubled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from attnswitch.sites import find_sites
from attnswitch.switch import RequestLike, apply
from attnswitch.types import Site
from attnswitch.verification.answering import YARDSTICK, phase_at, rows_that_count
from attnswitch.verification.exact_run import exactly
from attnswitch.verification.nudging import AGAIN, nudging
from attnswitch.verification.passes import Pass
from attnswitch.verification.pooling import Pool
from attnswitch.verification.rule import Judgement
from attnswitch.verification.where_possible import where_possible

# Numbers of a call's output that are kept for comparison.
KEPT = 64 * 2**10
Key = tuple[str, str]
LOGITS: Key = ("", "logits")
Rows = dict[Key, list[torch.Tensor]]


class WholeRuns:
    """What whole runs showed at every site and in the logits, by who was judged."""

    def __init__(
        self, model: Any, requests: Mapping[str, RequestLike], passes: Sequence[Pass],
        *, seed: int = 0,
    ):  # fmt: skip
        self._model, self._requests, self._seed = model, dict(requests), seed
        self._passes = tuple(passes)
        self._pools: dict[Key, dict[str, Pool]] = {}
        self._again: list[str] = []
        self.reference_logits: list[torch.Tensor] = []
        self.only_attention_precise = False

    @property
    def sites(self) -> list[Key]:
        """(site path, phase) of everything compared, in the order in which it first ran."""
        return [key for key in self._pools if key != LOGITS]

    @property
    def yardstick_runs(self) -> int:
        """How many runs of the yardstick the allowed error was taken from."""
        return 1 + len(self._again)

    def compare(self) -> None:
        """Run every pass under the reference, the yardstick and each request, and judge."""
        for one in self._passes:
            self._compare_one(one, [(who, who, None) for who in self._requests])
        compared = [(key, who) for key in self._pools for who in self._requests]
        if not all(self.judgement(*one).passes for one in compared if self.has(*one)):
            self._run_yardstick_again()

    def judgement(self, key: Key, who: str) -> Judgement:
        """The rule over a site and phase, or `LOGITS`, of all passes together."""
        pools = self._pools[key]
        return pools[who].judgement_beside([pools[n] for n in self._again if n in pools])

    def has(self, key: Key, who: str) -> bool:
        """Whether anything was compared there."""
        return key in self._pools and who in self._pools[key] and self._pools[key][who].count > 0

    def _run_yardstick_again(self) -> None:
        names = [f"yardstick, rounding {n + 1}" for n in range(AGAIN)]
        for one in self._passes:
            self._compare_one(one, [(name, None, n) for n, name in enumerate(names, start=1)])
        self._again = names

    def _compare_one(self, one: Pass, runs: Sequence[tuple[str, str | None, int | None]]) -> None:
        """Runs are (name, whose request or None for the yardstick's, nudged with or None)."""
        truth: Rows = {}
        standard: Rows = {}
        logits = self._reference(one, truth)
        truth[LOGITS] = [logits]
        if runs[0][2] is None:
            self.reference_logits.append(logits)
        yardstick = where_possible(self._model, YARDSTICK)
        with apply(self._model, yardstick), self._keeping(one, standard):
            standard[LOGITS] = [one.run(self._model)]
        for name, who, nudge in runs:
            request: RequestLike = yardstick if who is None else self._requests[who]
            rows: Rows = {}
            with apply(self._model, request), self._nudged(nudge), self._keeping(one, rows):
                rows[LOGITS] = [one.run(self._model)]
            self._judge(name, rows, standard, truth)

    @contextmanager
    def _nudged(self, number: int | None) -> Iterator[None]:
        if number is None:
            yield
            return
        with nudging(self._model, self._seed * 1_000_003 + number):
            yield

    def _reference(self, one: Pass, rows: Rows) -> torch.Tensor:
        """Logits of the exact run."""

        def compute(inputs: Mapping[str, Any]) -> torch.Tensor:
            rows.clear()
            with self._keeping(one, rows):
                return one.run(self._model, inputs)

        logits, whole = exactly(self._model, one.inputs, compute)
        self.only_attention_precise = self.only_attention_precise or not whole
        return logits

    def _judge(self, name: str, rows: Rows, standard: Rows, truth: Rows) -> None:
        for key, parts in rows.items():
            pool = self._pools.setdefault(key, {}).setdefault(name, Pool())
            others = zip(standard.get(key, ()), truth.get(key, ()), strict=True)
            for part, (yardstick, reference) in zip(parts, others, strict=True):
                pool.add(part, yardstick, reference)

    @contextmanager
    def _keeping(self, one: Pass, rows: Rows) -> Iterator[None]:
        """Keep some rows of what every site puts out, the same rows in every run."""
        handles = []
        for site, module in find_sites(self._model).values():

            def keep(module: Any, args: Any, output: Any, site: Site = site) -> None:
                self._keep(site, output, one.padding, rows)

            handles.append(module.register_forward_hook(keep))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, site: Site, output: Any, padding: torch.Tensor | None, rows: Rows) -> None:
        out = output[0] if isinstance(output, (tuple, list)) else output
        if not isinstance(out, torch.Tensor) or out.ndim < 2:
            return
        length = out.shape[-2]
        kept = rows.setdefault((site.path, phase_at(site, length)), [])
        counting = rows_that_count(site, out.shape[0], length, padding)
        chosen = out[counting] if counting is not None and out.ndim == 3 else out
        kept.append(self._some(chosen.reshape(-1, out.shape[-1]), len(kept)))

    def _some(self, out_ND: torch.Tensor, number: int) -> torch.Tensor:
        most = max(1, KEPT // out_ND.shape[-1])
        if len(out_ND) <= most:
            return out_ND.detach().clone()
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
        chosen = torch.randperm(len(out_ND), generator=generator)[:most].to(out_ND.device)
        return out_ND[chosen].detach().clone()


def largest_ratio(judgement: Judgement) -> float:
    """Error over allowed error, the larger of the two kinds; above 1 it fails."""
    pairs = ((judgement.error.max, judgement.allowed.max),
             (judgement.error.rms, judgement.allowed.rms))  # fmt: skip
    ratios = [error / allowed if allowed else (math.inf if error else 0.0)
              for error, allowed in pairs]  # fmt: skip
    return max(ratios) if judgement.finite else math.inf
