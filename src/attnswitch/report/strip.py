"""The strip: which kernel ran where, one column a site and one cell a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from attnswitch.report.kernel_groups import KernelGroup, kernel_groups
from attnswitch.report.safe_text import one_line
from attnswitch.report.site_ranges import layer_number, natural_order
from attnswitch.report.vocabulary import (
    FAMILY_LETTERS,
    evidence_text,
    listing_order,
    role_and_phase,
)

Receipt = dict[str, Any]
Place = tuple[str, str]


@dataclass(frozen=True)
class Cell:
    """What one run did at one site: its family, the letter that stands for it, and all in words."""

    family: str
    letter: str
    title: str


@dataclass(frozen=True)
class Column:
    """One site; `tick` is its layer number where shown, `cells` has one for each run."""

    site: str
    tick: str
    cells: list[Cell]


@dataclass(frozen=True)
class Lane:
    """One role and phase; `groups` has the counted kernels of each run."""

    role: str
    phase: str
    columns: list[Column]
    groups: list[list[KernelGroup]]


def strip_lanes(runs: list[dict[str, Any]]) -> list[Lane]:
    """The lanes of all runs together, in listing order, their sites in model order."""
    receipts = [run.get("receipts") or [] for run in runs]
    groups = [kernel_groups(listed) for listed in receipts]
    places = {role_and_phase(receipt) for listed in receipts for receipt in listed}
    return [
        Lane(
            *place,
            columns=_columns([_at(place, listed) for listed in receipts]),
            groups=[[g for g in one if (g.role, g.phase) == place] for one in groups],
        )
        for place in sorted(places, key=lambda place: listing_order(*place))
    ]


def _at(place: Place, receipts: Iterable[Receipt]) -> list[Receipt]:
    return [receipt for receipt in receipts if role_and_phase(receipt) == place]


def _columns(runs: list[list[Receipt]]) -> list[Column]:
    by_site: dict[str, list[list[Receipt]]] = {}
    for index, receipts in enumerate(runs):
        for receipt in receipts:
            site = str(receipt.get("site") or "")
            by_site.setdefault(site, [[] for _ in runs])[index].append(receipt)
    sites = sorted(by_site, key=natural_order)
    step = next((step for step in (1, 2, 4, 8) if len(sites) <= 16 * step), 16)
    return [
        Column(site, layer_number(site) if n % step == 0 else "", [*map(_cell, by_site[site])])
        for n, site in enumerate(sites)
    ]


def _cell(receipts: list[Receipt]) -> Cell:
    if not receipts:
        return Cell("absent", "·", "no call was recorded here")
    families = {receipt.get("family") or "unknown" for receipt in receipts}
    family = families.pop() if len(families) == 1 else "mixed"
    family = family if family in FAMILY_LETTERS else "unknown"
    site = one_line(receipts[0].get("site") or "no module path", 200)
    title = "\n".join([site, *map(receipt_words, receipts)])
    return Cell(family, FAMILY_LETTERS[family], title)


def receipt_words(receipt: Receipt) -> str:
    """One receipt in a line: what ran, how often, how that is known, what was asked."""
    kernels = ", ".join(receipt.get("executed") or []) or "no kernel seen"
    words = [
        f"{receipt.get('backend') or 'unknown'} ×{receipt.get('calls') or 0:,}",
        kernels,
        evidence_text(receipt.get("evidence")),
        f"requested {receipt.get('requested') or 'nothing'}",
        f"planned {receipt.get('planned') or 'nothing'}",
    ]
    words += [str(receipt[key]) for key in ("dtype", "mask") if receipt.get(key)]
    return " · ".join(one_line(word, 120) for word in words)
