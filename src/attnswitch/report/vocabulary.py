"""The project's words as reports print them, and the order in which they are listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ROLES = ("vision_tower", "projector", "language_model", "other")
PHASES = ("vision", "prefill", "decode", "backward")
UNPLACED = "place unknown"

EVIDENCE = {
    "guarded": "FlashAttention's operators were barred",
    "kernel": "seen by the profiler",
    "op": "seen by the profiler",
    "fingerprint": "bitwise equal to this backend alone",
    "inferred": "inferred, not seen",
    "unobserved": "not observed",
}
# What proves which family ran; anything else is a guess.
PROOF = frozenset({"guarded", "kernel", "op", "fingerprint"})

FAMILY_LETTERS = {"standard": "S", "flash": "F", "fused": "U", "mixed": "M", "unknown": "?"}
FAMILY_MEANINGS = {
    "standard": "standard attention: scores exist, softmax over whole rows",
    "flash": "a FlashAttention kernel",
    "fused": "another fused (online softmax) kernel",
    "mixed": "more than one family at this site",
    "unknown": "not observed",
}


def evidence_text(evidence: str | None) -> str:
    """How it is known, in words; an unknown word is passed through."""
    return EVIDENCE.get(evidence or "unobserved", str(evidence))


def role_and_phase(receipt: dict[str, Any]) -> tuple[str, str]:
    """The role and phase of a receipt, with words for what is not known."""
    return receipt.get("role") or UNPLACED, receipt.get("phase") or "phase unknown"


def listing_order(role: str, phase: str) -> tuple[int, str, int, str]:
    """Sort key: from the vision tower to the language model, from prefill to backward."""
    return (_position(role, ROLES), role, _position(phase, PHASES), phase)


def _position(word: str, known: Sequence[str]) -> int:
    return known.index(word) if word in known else len(known)
