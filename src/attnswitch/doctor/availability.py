"""Each backend available on a machine or not, with every reason and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attnswitch.backends.catalogue import CATALOGUE, decide, requestable
from attnswitch.doctor.state import Finding, MachineState, Wanted
from attnswitch.types import Circumstances, Refused


def availability(
    state: MachineState, findings: Iterable[Finding], wanted: Wanted
) -> list[dict[str, Any]]:
    """[{name, family, available, reasons, remedy, probe}], in the catalogue's order.

    Findings that stop a backend come first among its reasons: they say why, and what to do.
    """
    findings = list(findings)
    cuda = [gpu for gpu in state.gpus if gpu.capability]
    device = "npu" if state.npu else "cuda" if cuda else "cpu"
    call = Circumstances(
        device=device, dtype=wanted.dtype, head_dim=wanted.head_dim, has_eager=True,
        capability=cuda[0].capability if cuda else None,
    )  # fmt: skip
    missing = _missing(state)
    return [_one(name, call, missing, findings) for name in requestable()]


def _one(
    name: str, call: Circumstances, missing: frozenset[str], findings: list[Finding]
) -> dict[str, Any]:
    stopping = [finding for finding in findings if name in finding.stops]
    decision = decide(name, call, missing)
    reasons = [str(finding) for finding in stopping]
    remedies = [finding.remedy for finding in stopping]
    if isinstance(decision, Refused) and not stopping:
        reasons += decision.reasons
        remedies.append(decision.remedy)
    return {
        "name": name,
        "family": CATALOGUE[name].family,
        "available": not reasons,
        "reasons": reasons,
        "remedy": remedies[0] if remedies else "",
        "probe": None,
    }


def _missing(state: MachineState) -> frozenset[str]:
    if not state.version("flash_attn"):
        return frozenset(("flash_attn: the package flash_attn is not installed",))
    said = state.import_errors.get("flash_attn")
    return frozenset((f"flash_attn: does not import: {said}",)) if said else frozenset()
