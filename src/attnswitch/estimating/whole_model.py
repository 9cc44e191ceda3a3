"""Peak memory of a whole model, phase by phase, and what it consists of at the peak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from attnswitch.estimating import steps
from attnswitch.estimating.adapters import prepare
from attnswitch.estimating.kernel_memory import inside_kernels, kept_by_blockwise
from attnswitch.estimating.ledger import CUDA_BLOCK, Allocation, Ledger, Peak
from attnswitch.estimating.modules_running import ModulesRunning
from attnswitch.estimating.optimizing import OptimizerCost, optimizer_cost
from attnswitch.estimating.routing import Routed, attend_on_meta
from attnswitch.estimating.scenario import Scenario, Training
from attnswitch.estimating.work import Work
from attnswitch.geometries.building import build_model
from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.inputs import make_inputs
from attnswitch.geometries.workloads import attention_workloads
from attnswitch.sites import role_of


@dataclass(frozen=True)
class PhasePeak:
    """The peak of one phase: all bytes, those of them that the phase itself allocated, and parts.

    `parts` sum up to `bytes`; they are what was alive at that moment.
    """

    phase: str
    bytes: int
    dynamic_bytes: int
    parts: dict[str, int]
    work: Work


@dataclass(frozen=True)
class ModelMemory:
    """What a model takes under one backend. `standing` is there before anything runs."""

    backend: str
    standing: dict[str, int]
    phases: tuple[PhasePeak, ...]
    kv_cache_bytes: int = 0
    operators: int = field(default=0, compare=False)

    @property
    def peak(self) -> PhasePeak:
        """The phase that takes most."""
        return max(self.phases, key=lambda phase: phase.bytes)


def model_memory(scenario: Scenario, backend: str, *, with_work: bool = True) -> ModelMemory:
    """Run a scenario on the meta device and return its peaks, and its work where that is asked for.

    Raises:
        InputError: no such backend.
        MissingExtraError: transformers is not installed.
    """
    run = _Run(scenario, backend, with_work)
    if scenario.training is None:
        return run.inference()
    return run.training(scenario.training)


@lru_cache(maxsize=16)
def _model(geometry: Geometry, dtype: str, training: Training | None, eager: bool) -> Any:
    """A model on the meta device, ready to run; searches ask for the same one again and again."""
    model = build_model(geometry, device="meta", dtype=dtype)
    model.set_attn_implementation("eager" if eager else "sdpa")
    if training is not None:
        prepare(model, training)
    return model


# Costs of optimizers by what they depend on; searches ask for the same one again and again.
_optimizer_costs: dict[Hashable, OptimizerCost] = {}


class _Run:
    """One model on the meta device, and a ledger of what it does."""

    def __init__(self, scenario: Scenario, backend: str, with_work: bool):
        self.scenario, self.backend, self.with_work = scenario, backend, with_work
        self.model = _model(
            scenario.geometry, scenario.dtype, scenario.training, backend == "eager"
        )
        dtype = getattr(torch, scenario.dtype)
        self.inputs = make_inputs(
            scenario.geometry, scenario.sample, batch=scenario.batch, dtype=dtype, device="meta"
        )
        self.vocabulary = self.model.config.get_text_config().vocab_size
        weights, buffers = list(self.model.parameters()), list(self.model.buffers())
        self.known = [*weights, *buffers, *self.inputs.values()]
        self.block = 1 if scenario.device == "cpu" else CUDA_BLOCK
        self.standing = {
            "weights": self._total(weights), "buffers": self._total(buffers),
            "inputs": self._total(self.inputs.values()),
        }  # fmt: skip
        if backend == "blockwise":
            self.standing["triangles kept by blockwise"] = self._triangles()
        self.operators = 0

    def _triangles(self) -> int:
        scenario = self.scenario
        groups = attention_workloads(
            scenario.geometry, scenario.sample, phase="prefill", batch=scenario.batch
        )
        return sum(kept_by_blockwise(group, scenario.device) for group in groups)

    def inference(self) -> ModelMemory:
        """Prefill, and one decoded token after all others."""
        scenario = self.scenario
        cache: list[Any] = []

        def first(ledger: Ledger) -> None:
            cache.append(steps.prefill(self.model, self.inputs).past_key_values)
            ledger.name(steps.tensors_of(cache[0]), "KV cache")

        phases = [self._phase("prefill", *self._run(first))]
        count = self._total(steps.tensors_of(cache.pop()))
        if scenario.new_tokens:
            phases.append(self._decoded())
            count += count // scenario.sample.tokens * scenario.new_tokens
        return self._memory(phases, count)

    def _decoded(self) -> PhasePeak:
        """The last of the new tokens: every earlier one is in the cache."""
        scenario = self.scenario
        tokens = scenario.sample.tokens + scenario.new_tokens - 1
        dtype = getattr(torch, scenario.dtype)
        # Pictures are in the cache by then: their pixels are not there any more.
        standing, self.standing = self.standing, {**self.standing, "inputs": 0}

        def one(ledger: Ledger) -> None:
            cache = steps.filled_cache(self.model, scenario.batch, tokens, dtype, "meta")
            ledger.name(steps.tensors_of(cache), "KV cache")
            steps.decode(self.model, cache, scenario.batch, "meta")

        try:
            return self._phase("decode", *self._run(one))
        finally:
            self.standing = standing

    def training(self, training: Training) -> ModelMemory:
        """Forward and backward, then the optimizer, whose states are there from the first step."""
        scenario = self.scenario
        self.model.zero_grad(set_to_none=True)

        def step(ledger: Ledger) -> None:
            steps.forward_backward(self.model, self.inputs)
            gradients = (p.grad for p in self.model.parameters() if p.grad is not None)
            ledger.name(gradients, "gradients")

        peak, work = self._run(step)
        key = (scenario.geometry, scenario.dtype, training, scenario.device)
        cost = _optimizer_costs.get(key)
        if cost is None:
            cost = optimizer_cost(self.model, training, scenario.device, self.block)
            _optimizer_costs[key] = cost
        self.model.zero_grad(set_to_none=True)
        self.standing["optimizer state"] = cost.state_bytes
        phases = [self._phase("forward and backward", peak, work)]
        if cost.peak is not None and cost.work is not None:
            self.standing["gradients"] = cost.gradient_bytes
            phases.append(self._phase("optimizer step", cost.peak, cost.work))
            del self.standing["gradients"]
        return self._memory(phases, 0)

    def _phase(self, name: str, peak: Peak, work: Work) -> PhasePeak:
        parts = self._parts(peak)
        return PhasePeak(name, sum(parts.values()), peak.bytes, parts, work)

    def _run(self, call: Callable[[Ledger], None]) -> tuple[Peak, Work]:
        work = Work(self.scenario.device)
        watch = work.note if self.with_work else None
        with ModulesRunning(self.model) as running:
            ledger = Ledger(
                inside=inside_kernels(self.scenario.device), block=self.block,
                known=self.known, watch=watch, where=running.path,
            )  # fmt: skip
            with self._routed(), ledger:
                call(ledger)
        self.operators += ledger.operators
        return ledger.peak(), work

    def _routed(self) -> AbstractContextManager[object]:
        if self.backend == "eager":
            return nullcontext()
        return Routed(attend_on_meta(self.backend, self.scenario.device))

    def _parts(self, peak: Peak) -> dict[str, int]:
        parts = Counter({name: count for name, count in self.standing.items() if count})
        for allocation in peak.alive:
            parts[self._part_of(allocation)] += allocation.bytes
        return dict(parts.most_common())

    def _part_of(self, allocation: Allocation) -> str:
        """What an allocation is, in words."""
        path = allocation.module
        if allocation.name:
            return allocation.name
        if path == "lm_head" or (allocation.shape and allocation.shape[-1] == self.vocabulary):
            return "logits and loss"
        role = role_of(path)
        if role == "other":
            if path or self.scenario.training is None:
                return "embeddings"
            return "on its way in backward"
        attention = any("attn" in word for word in path.split("."))
        return f"{role.replace('_', ' ')}: " + ("attention" if attention else "other layers")

    def _total(self, tensors: Iterable[torch.Tensor]) -> int:
        """Bytes of the distinct storages."""
        storages = {t.untyped_storage()._cdata: t.untyped_storage() for t in tensors}
        return sum(-(-s.nbytes() // self.block) * self.block for s in storages.values())

    def _memory(self, phases: list[PhasePeak], kv_cache: int) -> ModelMemory:
        return ModelMemory(self.backend, self.standing, tuple(phases), kv_cache, self.operators)
