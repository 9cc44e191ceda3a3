"""Receipts that say the same thing, counted together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from attnswitch.report.vocabulary import evidence_text, listing_order, role_and_phase

Receipt = dict[str, Any]


@dataclass
class KernelGroup:
    """What ran in one role and phase, the same way and known in the same manner.

    `calls` counts attention calls over all sites, of which `seen` were looked at one by one;
    `executed` is empty where nothing was seen.
    `shapes` are those of query, key and value, as far as they were recorded.
    """

    role: str
    phase: str
    backend: str
    family: str
    executed: tuple[str, ...]
    evidence: str
    planned: str | None
    calls: int = 0
    seen: int = 0
    sites: list[str] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)
    shapes: list[list[list[int]]] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)

    @property
    def how_known(self) -> str:
        """The evidence in words, with how many calls were looked at where those are not all."""
        words = evidence_text(self.evidence)
        if self.evidence in ("op", "kernel") and self.seen < self.calls:
            return f"{words} in {self.seen:,} of {self.calls:,} calls"
        return words

    @property
    def off_plan(self) -> bool:
        """Whether something else ran than was planned."""
        return self.planned not in (None, "auto", self.backend)


def kernel_groups(receipts: Iterable[Receipt]) -> list[KernelGroup]:
    """One group for each role, phase, backend, kernels and evidence, in listing order."""
    groups: dict[Hashable, KernelGroup] = {}
    for receipt in receipts:
        group = groups.setdefault(_key(receipt), _empty_group(receipt))
        calls = receipt.get("calls") or 0
        group.calls += calls
        seen = receipt.get("seen")
        group.seen += calls if seen is None else seen
        site = receipt.get("site") or ""
        if site not in group.sites:
            group.sites.append(site)
        _add_new(group.dtypes, [receipt.get("dtype")])
        _add_new(group.shapes, receipt.get("shapes") or [])
        _add_new(group.masks, [receipt.get("mask")])
    return sorted(groups.values(), key=lambda group: listing_order(group.role, group.phase))


def _add_new(known: list[Any], told: Iterable[Any]) -> None:
    known += [one for one in told if one is not None and one not in known]


def _empty_group(receipt: Receipt) -> KernelGroup:
    role, phase = role_and_phase(receipt)
    return KernelGroup(
        role=role,
        phase=phase,
        backend=receipt.get("backend") or "unknown",
        family=receipt.get("family") or "unknown",
        executed=tuple(receipt.get("executed") or ()),
        evidence=receipt.get("evidence") or "unobserved",
        planned=receipt.get("planned"),
    )


def _key(receipt: Receipt) -> Hashable:
    group = _empty_group(receipt)
    return (*role_and_phase(receipt), group.backend, group.family, group.executed,
            group.evidence, group.planned)  # fmt: skip


def same_kernels(one: Iterable[Receipt], other: Iterable[Receipt]) -> bool:
    """Whether two runs ran the same kernels everywhere, so that their times must not be ranked."""
    return _signature(one) == _signature(other)


def _signature(receipts: Iterable[Receipt]) -> set[Hashable]:
    return {(g.role, g.phase, g.backend, g.executed) for g in kernel_groups(receipts)}
