"""Run a small real attention through a backend, forward and backward: flags are not believed.

The result is held to the rule of agreement against float64, output and gradients alike, and the
kernel that ran is what PyTorch's profiler saw.
"""

from __future__ import annotations

from typing import Any

import torch

from attnswitch.backends import attend_with
from attnswitch.tracing.events import attention_in
from attnswitch.tracing.profiling import profiler, raw_events
from attnswitch.verification.rule import judge

# Batch, heads, query rows, head width: small, and no multiple of a block.
SHAPE = (2, 4, 77, 64)
GRADIENTS = ("query", "key", "value")


def probe(backend: str, device: str, dtype: str | None = None) -> dict[str, Any]:
    """What happened: {ran, agrees, kernels, dtype, error, checks}.

    `ran` is whether forward and backward finished, `agrees` whether output and gradients follow the
    rule (`error` names those that do not), `kernels` what the profiler saw in the forward pass.
    """
    kind = getattr(torch, dtype) if dtype else torch.float32 if device == "cpu" else torch.float16
    found: dict[str, Any] = {"dtype": str(kind).removeprefix("torch."), "device": device}
    if backend == "eager":
        return {**found, "ran": False, "agrees": None, "kernels": [], "checks": {},
                "error": "it is a model's own code: there is none here to run"}  # fmt: skip
    inputs = _inputs(device, kind)
    try:
        results, kernels = _run(backend, inputs)
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return {**found, "ran": False, "agrees": False, "kernels": [], "checks": {}, "error": text}
    yardstick, _ = _run("yardstick", inputs)
    reference, _ = _run("reference", [t.detach().double() for t in inputs])
    checks = {
        name: judge(results[name], yardstick[name], reference[name]).to_json() for name in results
    }
    off = [name for name, check in checks.items() if not check["passes"]]
    said = f"not within the allowed error: {', '.join(off)}" if off else ""
    return {**found, "ran": True, "agrees": not off, "kernels": kernels, "checks": checks,
            "error": said}  # fmt: skip


def _inputs(device: str, dtype: Any) -> list[Any]:
    """Query, key, value and the gradient that comes back; seeded."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(SHAPE, generator=generator).to(device, dtype) for _ in range(4)]


def _run(backend: str, inputs: list[Any]) -> tuple[dict[str, Any], list[str]]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs[:3]]
    with profiler() as profile:
        output = attend_with(backend)(*leaves, None, 0.0, True)
    seen = attention_in(raw_events(profile))
    kernels = list(dict.fromkeys(name for one in seen for name in one.names))
    gradients = torch.autograd.grad(output, leaves, inputs[3].to(output.dtype))
    results = {"output": output.detach()}
    results |= {f"gradient of {n}": g for n, g in zip(GRADIENTS, gradients, strict=True)}
    return results, kernels
