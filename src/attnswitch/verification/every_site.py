"""Local error, streamed: one pass of the model, every call judged on its own q, k, v and mask.

At each attention call every backend under judgement answers, and some or all query rows are
compared with standard attention in fp32 and in float64, piece by piece. The pass goes on with an
answer that passed, so that one wrong layer does not spoil the inputs of the next. What was
compared is dropped at once: memory beyond the pass is one attention call.

The yardstick is one of many: it sums over keys, and over the width of a head, in some order. The
largest of a few hundred errors depends on that order, so before a call is said to fail, standard
attention is computed again with both shuffled, and the largest of its errors is the one that is
doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from attnswitch.backends import exact
from attnswitch.errors import AttnSwitchError
from attnswitch.types import Site
from attnswitch.verification.answering import Place, answering, phase_at, rows_that_count
from attnswitch.verification.attention_call import AttentionCall
from attnswitch.verification.carriers import carry_out
from attnswitch.verification.evidence import Evidence
from attnswitch.verification.pieces import Piece, pieces
from attnswitch.verification.pooling import Pool
from attnswitch.verification.sampling import SCORES, RowsSeen, choose_rows
from attnswitch.verification.statistics import Statistics
from attnswitch.verification.symptoms import diagnose

# Orders in which the yardstick is computed before a call is said to fail.
SHUFFLES = 8
# {site path: backend} of each of those who are judged, by what they are called.
Backends = Mapping[str, Mapping[str, str]]


@dataclass
class LocalSite:
    """What was found at one site in one phase; `pools` and `symptoms` by who was judged."""

    site: Site
    phase: str
    pools: dict[str, Pool] = field(default_factory=dict)
    symptoms: dict[str, str] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=Statistics)
    rows: RowsSeen = field(default_factory=RowsSeen)
    calls: int = 0
    calls_not_finite: int = 0


class LocalErrors:
    """Judges the calls of passes; `sites` in the order in which they first ran.

    Args:
        backends: who is judged, and which backend each uses at each site.
        seed, score_budget: how rows are drawn where a call has more scores than the budget.
    """

    def __init__(self, backends: Backends, *, seed: int = 0, score_budget: int = SCORES):
        self._backends, self._seed, self._budget = backends, seed, score_budget
        self._calls = 0
        self._padding: torch.Tensor | None = None
        self.sites: dict[tuple[str, str], LocalSite] = {}

    def watch(
        self, model: Any, run: Callable[[], Any], padding_BT: torch.Tensor | None = None
    ) -> None:
        """Run a pass and judge every attention call in it.

        Args:
            model: the model that `run` runs, without gradients.
            padding_BT: [B, T] bool, False at padding rows of the language model's prompt.

        Raises:
            AttnSwitchError: no attention call was seen.
        """
        before, self._padding = self._calls, padding_BT
        with answering(model, self._answer), torch.no_grad():
            run()
        if self._calls == before:
            raise AttnSwitchError("no attention call was seen in the pass that was to be judged")

    def _answer(self, place: Place, call: AttentionCall) -> torch.Tensor:
        batch, rows = call.query.shape[0], call.query.shape[-2]
        phase = phase_at(place.site, rows)
        found = self.sites.setdefault((place.site.path, phase), LocalSite(place.site, phase))
        found.calls += 1
        self._calls += 1
        # The mixing of call and seed keeps two calls of one length from the same rows.
        chosen = choose_rows(rows, call.scores, self._seed * 1_000_003 + self._calls, self._budget)
        outs: dict[str, torch.Tensor] = {}
        for who, backends in self._backends.items():
            backend = backends.get(place.site.path)
            if backend is None:
                continue
            same = next((w for w in outs if self._backends[w].get(place.site.path) == backend), "")
            outs[who] = outs[same] if same else carry_out(backend, place, call)
        if not call.is_finite:
            found.calls_not_finite += 1
            return next(iter(outs.values())) if outs else _standard(call)
        found.rows.add(len(chosen), rows)
        padding = rows_that_count(place.site, batch, rows, self._padding)
        return self._judged(found, call, outs, chosen, padding)

    def _judged(
        self,
        found: LocalSite,
        call: AttentionCall,
        outs: dict[str, torch.Tensor],
        chosen: torch.Tensor,
        padding: torch.Tensor | None,
    ) -> torch.Tensor:
        """Judge one call, and return an answer to go on with."""
        pools = {who: Pool() for who in outs}
        whole = None
        if len(chosen) == call.query.shape[-2]:
            whole = call.query.new_empty((*call.query.shape[:-1], call.value.shape[-1]))
        for piece in pieces(call, chosen):
            counts = piece.counting(padding)
            standard = _standard_piece(piece, call)
            if whole is not None:
                whole[piece.batch, piece.heads, piece.rows] = standard
            if not bool(counts.any()):
                continue
            exact_rows = piece.attention(torch.float64)[counts]
            for who, out in outs.items():
                pools[who].add(piece.of(out)[counts], standard[counts], exact_rows)
            found.statistics.add(piece, counts)
        failing = [who for who, pool in pools.items() if pool.count and not _passes(pool)]
        if failing:
            for other in self._shuffled(call, chosen, padding):
                for pool in pools.values():
                    pool.widen(other)
        for who, pool in pools.items():
            found.pools.setdefault(who, Pool()).merge(pool)
            wrong = who in failing and not _passes(pool)
            if wrong and who not in found.symptoms:
                product = found.statistics.largest_product
                evidence = Evidence.of(call, outs[who], chosen, padding, product)
                found.symptoms[who] = diagnose(evidence)
        if whole is not None:
            return whole
        healthy = [w for w, pool in pools.items() if pool.count and _passes(pool)]
        return outs[healthy[0]] if healthy else _standard(call)

    def _shuffled(
        self, call: AttentionCall, chosen: torch.Tensor, padding: torch.Tensor | None
    ) -> Iterator[Pool]:
        """The errors of standard attention with its sums in other orders, as candidates."""
        for number in range(SHUFFLES):
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
            keys, width = (
                torch.randperm(size, generator=generator).to(call.key.device)
                for size in call.key.shape[-2:]
            )
            pool = Pool()
            for piece in pieces(call, chosen):
                counts = piece.counting(padding)
                if bool(counts.any()):
                    standard = _standard_piece(piece.reordered(keys, width), call)[counts]
                    pool.add(standard, standard, piece.attention(torch.float64)[counts])
            yield pool


def _passes(pool: Pool) -> bool:
    return pool.judgement().passes


def _standard(call: AttentionCall) -> torch.Tensor:
    return call.carried_out_by(exact.yardstick)


def _standard_piece(piece: Piece, call: AttentionCall) -> torch.Tensor:
    dtype = torch.float64 if call.query.dtype == torch.float64 else torch.float32
    return piece.attention(dtype).to(call.query.dtype)
