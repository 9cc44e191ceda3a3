"""The same scenario really run on this machine, with random weights, and weighed phase by phase."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from attnswitch.bench.memory import peak_bytes
from attnswitch.estimating import steps
from attnswitch.estimating.adapters import prepare
from attnswitch.estimating.attention_call import eager_function, mask_of
from attnswitch.estimating.scenario import Scenario, Training
from attnswitch.geometries.building import build_model
from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.inputs import make_inputs
from attnswitch.geometries.workloads import AttentionWorkload
from attnswitch.switch import use


def measured_peaks(scenario: Scenario, backend: str) -> dict[str, int]:
    """{phase: the most bytes that it had allocated at once, beyond what was there before it}.

    Phases are those of `model_memory`, to be compared with its `dynamic_bytes`. Each is weighed in
    its second run: the first makes what is made once.
    """
    torch.manual_seed(0)
    model = build_model(scenario.geometry, device=scenario.device, dtype=scenario.dtype)
    model.set_attn_implementation("eager" if backend == "eager" else "sdpa")
    dtype = getattr(torch, scenario.dtype)
    inputs = make_inputs(
        scenario.geometry, scenario.sample, batch=scenario.batch, dtype=dtype,
        device=scenario.device,
    )  # fmt: skip
    if scenario.training is None:
        return _inference(scenario, backend, model, inputs)
    prepare(model, scenario.training)
    return _training(scenario.training, scenario, backend, model, inputs)


def _inference(
    scenario: Scenario, backend: str, model: Any, inputs: dict[str, Any]
) -> dict[str, int]:
    found = {"prefill": _weighed(lambda: steps.prefill(model, inputs), scenario, backend)}
    if scenario.new_tokens:
        tokens = scenario.sample.tokens + scenario.new_tokens - 1
        dtype = getattr(torch, scenario.dtype)

        def one() -> None:
            # The cache is made inside: of memory that was there before, no release is seen.
            cache = steps.filled_cache(model, scenario.batch, tokens, dtype, scenario.device)
            steps.decode(model, cache, scenario.batch, scenario.device)

        found["decode"] = _weighed(one, scenario, backend)
    return found


def _training(
    training: Training, scenario: Scenario, backend: str, model: Any, inputs: dict[str, Any]
) -> dict[str, int]:
    optimizer = steps.make_optimizer(model, training, scenario.device)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        steps.forward_backward(model, inputs)

    with _under(backend):
        step()
    if optimizer is not None:
        optimizer.step()
    model.zero_grad(set_to_none=True)
    found = {"forward and backward": _weighed(step, scenario, backend, warm_up=False)}
    if optimizer is not None:
        found["optimizer step"] = _weighed(optimizer.step, scenario, backend, warm_up=False)
    return found


def _weighed(
    call: Callable[[], object], scenario: Scenario, backend: str, warm_up: bool = True
) -> int:
    with _under(backend):
        if warm_up:
            call()
        return peak_bytes(call, scenario.device)


def _under(backend: str) -> AbstractContextManager[object]:
    return nullcontext() if backend == "eager" else use(backend)


def measured_call(
    geometry: Geometry, workload: AttentionWorkload, backend: str, dtype: str, device: str = "cpu"
) -> int:
    """Peak bytes of one attention call, its query, key and value (and eager's mask) not counted."""
    query, key, value = workload.tensors(getattr(torch, dtype), device)
    upstream = torch.randn_like(query.detach())
    mask = mask_of(workload, backend, query)

    def attend() -> torch.Tensor:
        if backend == "eager":
            return eager_function(geometry, workload)(query, key, value, mask)
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=workload.is_causal,
            enable_gqa=workload.heads != workload.kv_heads,
        )  # fmt: skip

    def call() -> Any:
        if not workload.backward:
            with torch.no_grad():
                return attend()
        query.grad = key.grad = value.grad = None
        out = attend()
        out.backward(upstream)
        return out

    with _under(backend):
        call()
        query.grad = key.grad = value.grad = None
        return peak_bytes(call, device)
