"""`attnswitch doctor`: collect, diagnose, say what is available, and try it where that is asked."""

from __future__ import annotations

from typing import Any

from attnswitch.doctor.availability import availability
from attnswitch.doctor.collect import collect
from attnswitch.doctor.diagnosis import diagnose
from attnswitch.doctor.state import MachineState, Wanted
from attnswitch.environment import describe

SCHEMA = "attnswitch.doctor/1"


def examine(
    wanted: Wanted | None = None, *, with_probe: bool = False, state: MachineState | None = None
) -> dict[str, Any]:
    """The record `attnswitch.doctor/1` of this machine, or of a made-up `state`.

    With `with_probe`, each backend that is available is run; one that fails, or whose output is
    wrong, is not available. Where its gradients alone are off, the probe says so.
    """
    wanted = wanted or Wanted()
    here = state is None
    state = state or collect()
    findings = diagnose(state, wanted)
    backends = availability(state, findings, wanted)
    if with_probe and state.torch is not None:
        _try(backends, "cuda" if any(gpu.capability for gpu in state.gpus) else "cpu", wanted)
    return {
        "schema": SCHEMA,
        "environment": {**(describe() if here else {}), **_of_state(state)},
        "findings": [
            {"subject": f.subject, "cause": f.cause, "remedy": f.remedy, "stops": list(f.stops)}
            for f in findings
        ],
        "backends": backends,
    }


def _try(backends: list[dict[str, Any]], device: str, wanted: Wanted) -> None:
    from attnswitch.doctor.probe import probe

    for backend in backends:
        if not backend["available"]:
            continue
        found = backend["probe"] = probe(backend["name"], device, wanted.dtype)
        wrong = found["ran"] and not found["checks"]["output"]["passes"]
        if wrong or (found["agrees"] is False and not found["ran"]):
            backend["available"] = False
            backend["reasons"].append(f"the probe failed: {found['error']}")
            backend["remedy"] = "do not use it here; 'standard' is the other way"


def _of_state(state: MachineState) -> dict[str, Any]:
    torch = state.torch
    return {
        "python": state.python,
        "system": f"{state.system} {state.architecture}",
        "c_library": state.glibc,
        "driver": state.driver,
        "gpus": [
            {
                "name": g.name,
                "capability": ".".join(map(str, g.capability)) if g.capability else None,
            }
            for g in state.gpus
        ],
        "npu": state.npu,
        "torch": torch.version if torch else None,
        "torch_cuda": torch.cuda if torch else None,
        "torch_architectures": list(torch.archs) if torch else [],
        "torch_cxx11_abi": torch.cxx11_abi if torch else None,
        "packages": dict(state.packages),
    }
