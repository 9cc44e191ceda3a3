"""The forward pass: for each block of query rows, scores, one whole-row softmax, times V.

The keys of a long block come in pieces.

Shape suffixes: B batch, H query heads, G key-value heads, R query heads of one group (H = G·R),
T query rows, S keys, D width of query and key, E width of value.
"""

from __future__ import annotations

import math
from collections import deque

import torch

from attnswitch.backends.query_blocks.block_size import BlockSize
from attnswitch.backends.query_blocks.dropout import drop
from attnswitch.backends.query_blocks.piecewise import add_up
from attnswitch.backends.query_blocks.plan import Plan, RowBlock, pieces_of
from attnswitch.backends.query_blocks.row_softmax import row_softmax
from attnswitch.backends.query_blocks.scores import ScoreRule
from attnswitch.backends.query_blocks.settings import Settings, compute_dtype
from attnswitch.backends.query_blocks.tasks import Task, forward_tasks
from attnswitch.backends.query_blocks.workers import run_everywhere
from attnswitch.backends.query_blocks.workspace import Workspace


class Forward:
    """One call's forward pass; `run` fills the output and, where there is one, the log-sum-exp."""

    def __init__(
        self,
        q_BHTD: torch.Tensor,
        k_BGSD: torch.Tensor,
        v_BGSE: torch.Tensor,
        rule: ScoreRule,
        settings: Settings,
        out_BHTE: torch.Tensor,
        lse_BHT: torch.Tensor | None,
        seed: int | None,
    ):
        G = k_BGSD.shape[1]
        shape = (G, q_BHTD.shape[1] // G)
        self.q_BGRTD, self.k, self.v = q_BHTD.unflatten(1, shape), k_BGSD, v_BGSE
        self.out_BGRTE = out_BHTE.unflatten(1, shape)
        self.lse_BGRT = None if lse_BHT is None else lse_BHT.unflatten(1, shape)
        self.rule, self.settings, self.seed = rule, settings, seed

    def run(self, plan: Plan, size: BlockSize, workers: int) -> None:
        """Share the tasks among ``workers`` and return when all are done."""
        tasks, spaces = self.allot(plan, size, workers)
        run_everywhere(lambda index: self._work(tasks, spaces[index]), len(spaces))

    def allot(
        self, plan: Plan, size: BlockSize, workers: int
    ) -> tuple[deque[Task], list[Workspace]]:
        """Return the tasks, and one worker's memory each for as many workers as there is work."""
        B, G, R = self.q_BGRTD.shape[:3]
        tasks = forward_tasks(plan, B, G, R, size, workers)
        dtype = compute_dtype(self.k)
        count = min(workers, len(tasks))
        return tasks, [Workspace(size, self.k, self.v, dtype) for _ in range(count)]

    def _work(self, tasks: deque[Task], space: Workspace) -> None:
        while tasks:
            try:
                task = tasks.popleft()
            except IndexError:
                return
            space.forget()
            views = self._views(task)
            for block in task.blocks:
                self._block(task, block, space, *views)

    def _views(self, task: Task) -> tuple[torch.Tensor, ...]:
        """Return query (G, R, T, D), keys (G, S, D), values (G, S, E), output (G, R, T, E)."""
        heads = task.heads
        place = (task.batch, slice(heads.g0, heads.g1))
        rectangle = (*place, slice(heads.r0, heads.r1))
        return self.q_BGRTD[rectangle], self.k[place], self.v[place], self.out_BGRTE[rectangle]

    def _block(
        self,
        task: Task,
        block: RowBlock,
        space: Workspace,
        q_GRTD: torch.Tensor,
        k_GSD: torch.Tensor,
        v_GSE: torch.Tensor,
        out_GRTE: torch.Tensor,
    ) -> None:
        """Compute one block's rows of the output."""
        count, keys = block.row_stop - block.row_start, block.key_stop - block.key_start
        out_GRTE = out_GRTE.narrow(2, block.row_start, count)
        if not keys:
            out_GRTE.zero_()
            self._write_lse(task, block, None)
            return
        G, R, T, E = out_GRTE.shape
        q = space.query(q_GRTD.narrow(2, block.row_start, count))
        softmax = row_softmax(
            q.device, self.settings.scale, self.rule, block.empty_rows, self.lse_BGRT is not None
        )
        out = space.out((G, R * T, E))

        def scores_of(piece: RowBlock) -> torch.Tensor:
            flat = space.scores((G, R * T, piece.key_stop - piece.key_start))
            factor = softmax.product_factor
            space.times_transposed(q, "key", k_GSD, piece.key_start, flat, factor)
            scores = flat.view(G, R, T, flat.shape[-1])
            self.rule.apply(scores, piece, task.batch, task.heads)
            return flat

        def add_values(piece: RowBlock, flat: torch.Tensor, add: bool) -> None:
            if self.seed is not None:
                weights = flat.view(G, R, T, flat.shape[-1])
                drop(weights, self.settings.dropout_p, self.seed, task.batch, piece, task.heads)
            space.times(flat, "value", v_GSE, piece.key_start, out, add=add)

        add_up(pieces_of(block, space.size.piece), softmax, scores_of, add_values, out)
        softmax.divide_(out)
        out_GRTE.copy_(out.view(G, R, T, E))
        if self.lse_BGRT is not None:
            self._write_lse(task, block, softmax.log_sum_exp().view(G, R, T))

    def _write_lse(self, task: Task, block: RowBlock, lse_GRT: torch.Tensor | None) -> None:
        if self.lse_BGRT is None:
            return
        heads = task.heads
        place = (task.batch, slice(heads.g0, heads.g1), slice(heads.r0, heads.r1))
        rows = self.lse_BGRT[place].narrow(2, block.row_start, block.row_stop - block.row_start)
        rows.copy_(lse_GRT if lse_GRT is not None else rows.fill_(-math.inf))
