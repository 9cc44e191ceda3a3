"""The backward pass: scores and probabilities are recomputed block by block, nothing of T² is kept.

With P = softmax(S) and O = PV: dV = PᵀdO, dP = dO·Vᵀ, dS = P∘(dP − rowsum(P∘dP)), dQ = scale·dS·K
and dK = scale·dSᵀ·Q (Dao et al. 2022, appendix B.2; the row sum is taken of P∘dP, so that the
output need not be kept). No atomics: every sum has one order, whatever thread adds it.
"""

from __future__ import annotations

from collections import deque

import torch

from attnswitch.backends.query_blocks.block_size import BlockSize
from attnswitch.backends.query_blocks.dropout import keep_factor
from attnswitch.backends.query_blocks.plan import Plan, RowBlock
from attnswitch.backends.query_blocks.row_softmax import row_softmax
from attnswitch.backends.query_blocks.scores import Heads, ScoreRule
from attnswitch.backends.query_blocks.settings import Settings, compute_dtype
from attnswitch.backends.query_blocks.tasks import Task, cut
from attnswitch.backends.query_blocks.workers import run_everywhere
from attnswitch.backends.query_blocks.workspace import Workspace


class Backward:
    """One call's backward pass; `run` returns the gradients of query, key and value."""

    def __init__(
        self,
        grad_BHTE: torch.Tensor,
        q_BHTD: torch.Tensor,
        k_BGSD: torch.Tensor,
        v_BGSE: torch.Tensor,
        rule: ScoreRule,
        settings: Settings,
        seed: int | None,
        mask_grad_BGRTS: torch.Tensor | None,
    ):
        G = k_BGSD.shape[1]
        self.shape = (G, q_BHTD.shape[1] // G)
        self.q_BGRTD, self.k, self.v = q_BHTD.unflatten(1, self.shape), k_BGSD, v_BGSE
        self.grad_BGRTE = grad_BHTE.unflatten(1, self.shape)
        self.dq_BHTD, self.dk, self.dv = (torch.zeros_like(t) for t in (q_BHTD, k_BGSD, v_BGSE))
        self.dq_BGRTD = self.dq_BHTD.unflatten(1, self.shape)
        self.rule, self.settings, self.seed = rule, settings, seed
        self.mask_grad = mask_grad_BGRTS

    def run(
        self, plan: Plan, size: BlockSize, workers: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Share the work among ``workers``; heads are summed by one worker, in one order."""
        queue, spaces, sums = self.allot(plan, size, workers)
        run_everywhere(lambda index: self._work(queue, spaces[index], sums, index), len(spaces))
        if sums.parts > 1:
            sums.reduce(self.dk, self.dv)
        return self.dq_BHTD, self.dk, self.dv

    def allot(
        self, plan: Plan, size: BlockSize, workers: int
    ) -> tuple[deque[list[Task]], list[Workspace], Sums]:
        """Return the work, one worker's memory each, and where gradients of keys add up."""
        B, G, R = self.q_BGRTD.shape[:3]
        if self.mask_grad is not None:
            workers = 1  # its sums run over heads and batch
        owners = B * -(-G // size.groups)
        parts = -(-workers // owners)
        groups: dict[tuple[int, int, int], list[Task]] = {}
        for task in cut(plan, B, G, R, size, parts):
            groups.setdefault((task.batch, task.heads.g0, task.part), []).append(task)
        queue = deque(groups.values())
        workers = min(workers, len(queue))
        dtype = compute_dtype(self.k)
        spaces = [Workspace(size, self.k, self.v, dtype, backward=True) for _ in range(workers)]
        return queue, spaces, Sums(self.k, self.v, size, parts, workers, dtype)

    def _work(self, queue: deque[list[Task]], space: Workspace, sums: Sums, index: int) -> None:
        while queue:
            try:
                tasks = queue.popleft()
            except IndexError:
                return
            space.forget()
            first = tasks[0]
            sums_of = sums.start(first, index)
            for task in tasks:
                views = self._views(task)
                for block in task.blocks:
                    if block.key_start < block.key_stop:
                        self._block(task, block, space, *views, *sums_of)
            if sums.parts == 1:
                place = (first.batch, slice(first.heads.g0, first.heads.g1))
                for grad, total in zip((self.dk, self.dv), sums_of, strict=True):
                    grad[place] = total

    def _views(
        self, task: Task
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return query and its gradient (G, R, T, D), output gradient (…, E), keys and values."""
        heads = task.heads
        place = (task.batch, slice(heads.g0, heads.g1))
        rectangle = (*place, slice(heads.r0, heads.r1))
        rows = self.q_BGRTD[rectangle], self.dq_BGRTD[rectangle], self.grad_BGRTE[rectangle]
        return (*rows, self.k[place], self.v[place])

    def _block(
        self,
        task: Task,
        block: RowBlock,
        space: Workspace,
        q_GRTD: torch.Tensor,
        dq_GRTD: torch.Tensor,
        grad_GRTE: torch.Tensor,
        k_GSD: torch.Tensor,
        v_GSE: torch.Tensor,
        dk_GSD: torch.Tensor,
        dv_GSE: torch.Tensor,
    ) -> None:
        """Add one block's share to ``dk_GSD`` and ``dv_GSE`` and write its rows of dQ."""
        rows = (2, block.row_start, block.row_stop - block.row_start)
        start, keys = block.key_start, block.key_stop - block.key_start
        dk, dv = dk_GSD.narrow(1, start, keys), dv_GSE.narrow(1, start, keys)
        scale = self.settings.scale
        q, grad = space.query(q_GRTD.narrow(*rows)), space.grad(grad_GRTE.narrow(*rows))
        G, R, T, D = q_GRTD.narrow(*rows).shape
        shape, scores_shape = (G, R * T, keys), (G, R, T, keys)
        softmax = row_softmax(q.device, scale, self.rule, block.empty_rows)
        probs = space.scores(shape)
        space.times_transposed(q, "key", k_GSD, start, probs, softmax.product_factor)
        scores = probs.view(scores_shape)
        cap_slope = self.rule.apply(scores, block, task.batch, task.heads, slope=True)
        softmax.see(probs)
        softmax.weigh_(probs)
        softmax.divide_(probs)
        dprobs = space.times_transposed(grad, "value", v_GSE, start, space.dprobs(shape))
        if self.seed is None:
            dv.baddbmm_(probs.transpose(1, 2), grad)
        else:
            place = (self.settings.dropout_p, self.seed, task.batch, block, task.heads)
            keep = keep_factor(scores.shape, scores, *place).view(shape)
            dv.baddbmm_((probs * keep).transpose(1, 2), grad)
            dprobs.mul_(keep)
        dscores = torch.ops.aten._softmax_backward_data.out(
            dprobs, probs, -1, probs.dtype, grad_input=dprobs
        )
        if self.mask_grad is not None:
            part = dscores.view(scores_shape)
            _add_mask_grad(self.mask_grad, part, block, task.batch, task.heads)
        if cap_slope is not None:
            dscores.mul_(cap_slope.view(shape))
        dk.baddbmm_(dscores.transpose(1, 2), q, alpha=scale)
        dq = space.times(dscores, "key", k_GSD, start, space.dq((G, R * T, D)), scale)
        dq_GRTD.narrow(*rows).copy_(dq.view(G, R, T, D))


class Sums:
    """Where the gradients of keys and values add up, in the compute dtype.

    With one part a worker reuses one pair of buffers, head after head. Where there are fewer heads
    than workers, each part has its own pair, and they are summed in order at the end.
    """

    def __init__(self, k_BGSD, v_BGSE, size, parts, workers, dtype):
        B, G, S, D = k_BGSD.shape
        E = v_BGSE.shape[-1]
        self.parts = parts
        lead = (workers, size.groups) if parts == 1 else (parts, B, G)
        self.dk = k_BGSD.new_empty((*lead, S, D), dtype=dtype)
        self.dv = k_BGSD.new_empty((*lead, S, E), dtype=dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of both sums."""
        return sum(total.numel() * total.element_size() for total in (self.dk, self.dv))

    def start(self, task: Task, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return zeroed buffers (G, S, D) and (G, S, E) for a task's heads."""
        g0, g1 = task.heads.g0, task.heads.g1
        place: tuple[int | slice, ...]
        if self.parts == 1:
            place = (index, slice(0, g1 - g0))
        else:
            place = (task.part, task.batch, slice(g0, g1))
        return self.dk[place].zero_(), self.dv[place].zero_()

    def reduce(self, dk_BGSD: torch.Tensor, dv_BGSE: torch.Tensor) -> None:
        """Sum the parts in order and write the gradients."""
        for total, grad in ((self.dk, dk_BGSD), (self.dv, dv_BGSE)):
            for part in total[1:]:
                total[0].add_(part)
            grad.copy_(total[0])


def _add_mask_grad(
    mask_grad_BGRTS: torch.Tensor,
    dscores_GRTS: torch.Tensor,
    block: RowBlock,
    batch: int,
    heads: Heads,
) -> None:
    """Sum the gradient of the scores over the dimensions in which the mask was broadcast."""
    part = ScoreRule(mask_grad_BGRTS).mask_of(block, batch, heads, block.key_start, block.key_stop)
    over = [i for i in range(4) if part.shape[i] == 1 and dscores_GRTS.shape[i] > 1]
    part.add_(dscores_GRTS.sum(over, keepdim=True) if over else dscores_GRTS)
