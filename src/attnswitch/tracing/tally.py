"""Calls of a site in a phase that ran one backend, added up; and the receipt that says so."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from attnswitch import guard
from attnswitch.tracing.events import Seen
from attnswitch.tracing.unasked import Unasked
from attnswitch.types import Choice, Evidence, Receipt, Site

_MOST_SHAPES = 8


@dataclass
class Tally:
    """One line of the ledger.

    Of `calls`, `seen` were looked at one by one, by the profiler or at FlashAttention's operators;
    the others were counted, and taken for what the last profiled call of their form ran.
    `operators` is how often its operators ran: packed sequences may take one each in one call.
    `unguarded` and `not_everywhere` count those in which FlashAttention was not barred on the
    thread, or in the whole process.
    """

    site: Site | None
    phase: str
    backend: str | None
    family: str | None
    executed: list[str] = field(default_factory=list)
    shapes: list[list[list[int]]] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    calls: int = 0
    seen: int = 0
    operators: float = 0.0
    unguarded: int = 0
    not_everywhere: int = 0
    asked: Choice | None = None
    unasked: Unasked | None = None
    dtype: str | None = None
    by_kernel: bool = False
    by_fingerprint: bool = False

    def note(self, one: Seen) -> None:
        """One call was seen: keep its operators, and a few of its forms."""
        names = [*one.names, *one.kernels]
        self.executed += [name for name in names if name not in self.executed]
        self.by_kernel = self.by_kernel or bool(one.kernels)
        if one.shapes and one.shapes not in self.shapes and len(self.shapes) < _MOST_SHAPES:
            self.shapes.append(one.shapes)
        if one.mask and one.mask not in self.masks and len(self.masks) < _MOST_SHAPES:
            self.masks.append(one.mask)
        self.dtype = one.dtype or self.dtype

    def evidence(self) -> Evidence:
        """How it is known. Where nothing was seen, only a bar on the whole process proves absence.

        Where calls are known in several ways the weakest is told. Calls between two looks are
        inferred where this torch cannot count FlashAttention's kernels in all of them.
        """
        barred = self.unguarded if self.executed else self.not_everywhere
        if self.calls > 0 and barred == 0 and self.family != "flash":
            return "guarded"
        if not (self.executed or self.by_fingerprint):
            return "unobserved"
        if self.seen < self.calls and not guard.can_pass_through():
            return "inferred"
        if self.by_fingerprint:
            return "fingerprint"
        return "kernel" if self.by_kernel else "op"

    def receipt(self) -> Receipt:
        """What is known, as the receipt."""
        asked, site = self.asked, self.site
        known_role = site is not None and (site.path or site.role != "other")
        return Receipt(
            site=site.path or None if site else None,
            role=site.role if site and known_role else None,
            phase=self.phase,
            requested=asked.requested if asked else None,
            planned=asked.backend if asked else None,
            backend=self.backend,
            family=self.family,
            executed=self.executed or None,
            evidence=self.evidence(),
            calls=self.calls,
            process=os.getpid(),
            seen=self.seen,
            source=asked.source if asked else self.unasked.source if self.unasked else None,
            dtype=self.dtype,
            shapes=self.shapes,
            mask="; ".join(self.masks) or None,
            rule=asked.rule or None if asked else None,
            refused=self._refused(),
        )

    def _refused(self) -> list[dict[str, Any]]:
        """Why each faster backend did not run: as the choice says, or the project's settings."""
        if self.asked is not None and self.asked.backend != "auto":
            return [{"backend": r.backend, "reasons": list(r.reasons)} for r in self.asked.refused]
        if self.unasked is None or self.phase == "backward":
            return []
        width = self.shapes[0][0][-1] if self.shapes and self.shapes[0][0] else None
        masked = None if not self.masks else any("×" in mask for mask in self.masks)
        return self.unasked.refusals(self.backend, self.dtype, width, masked)
