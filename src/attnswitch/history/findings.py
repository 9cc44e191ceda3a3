"""What a check finds of each row, and its answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from attnswitch.bench.statistics import Estimate, estimate

# The probability of any false alarm in a check.
ALPHA = 0.01
Judgement = Literal["slower", "not slower", "undecided"]
# What a row is judged by: the clock on the wall, or where that leaves it open processor time.
CLOCKS = ("clock", "processor")


@dataclass(frozen=True)
class Evidence:
    """How much slower a row is now by one of the clocks, and how likely chance makes such a figure
    somewhere. `ratio` is new over old."""

    ratio: Estimate
    probability: float

    def judged(self, tolerance: float, detect: float, alpha: float) -> Judgement:
        """What this clock says: slower by more than `tolerance`, or `detect` ruled out."""
        if self.probability <= alpha and self.ratio.median > 1 + tolerance:
            return "slower"
        return "not slower" if self.ratio.high < 1 + detect else "undecided"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"ratio": self.ratio._asdict(), "probability": self.probability}


@dataclass(frozen=True)
class Finding:
    """One row, from so many `processes` on each side.

    "not slower": a slowdown by `detect` can be ruled out; "undecided": neither is shown. `by` is
    the clock that decided: processor time where the clock on the wall leaves it open, since what
    others do on the machine slows that one alone.
    """

    workload: dict[str, Any]
    request: str
    evidence: Mapping[str, Evidence]
    processes: tuple[int, int]
    judgement: Judgement
    by: str

    @classmethod
    def of(
        cls, workload: dict[str, Any], request: str, evidence: Mapping[str, Evidence],
        processes: tuple[int, int], *, tolerance: float, detect: float, alpha: float = ALPHA,
    ) -> Finding:  # fmt: skip
        """The finding that the evidence of the clocks leads to."""
        for name in CLOCKS:
            if name in evidence:
                told = evidence[name].judged(tolerance, detect, alpha)
                if told != "undecided":
                    return cls(workload, request, evidence, processes, told, name)
        return cls(workload, request, evidence, processes, "undecided", CLOCKS[0])

    @property
    def ratio(self) -> Estimate:
        """By the clock that decided."""
        return self.evidence[self.by].ratio

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; `ratio` and `probability` are of the clock that decided."""
        return {
            "workload": self.workload, "request": self.request,
            **self.evidence[self.by].to_json(),
            "evidence": {name: one.to_json() for name, one in self.evidence.items()},
            "processes": list(self.processes), "judgement": self.judgement, "by": self.by,
        }  # fmt: skip


@dataclass(frozen=True)
class Check:
    """All findings; `control` is the machine's own speed, new over old, on work without attention.

    `old` and `new` say in words what the sides are; `settings` are tolerance, detect and alpha.
    """

    old: str
    new: str
    findings: Sequence[Finding]
    control: Estimate | None
    settings: Mapping[str, float]
    notes: Sequence[str] = ()

    @property
    def slower(self) -> list[Finding]:
        """The rows that became slower."""
        return [one for one in self.findings if one.judgement == "slower"]

    @property
    def undecided(self) -> list[Finding]:
        """The rows of which neither is shown."""
        return [one for one in self.findings if one.judgement == "undecided"]

    def to_json(self) -> dict[str, Any]:
        """The record `attnswitch.check/1`."""
        return {
            "schema": "attnswitch.check/1",
            "slower": bool(self.slower),
            "old": self.old,
            "new": self.new,
            "findings": [one.to_json() for one in self.findings],
            "control": self.control._asdict() if self.control else None,
            "settings": dict(self.settings),
            "notes": list(self.notes),
        }


def paired_ratio(differences: Sequence[float]) -> Estimate:
    """New over old from pairs' differences of logarithms, with a bootstrap interval."""
    return Estimate(*map(math.exp, estimate(differences)))


def two_group_ratio(old: Sequence[float], new: Sequence[float]) -> Estimate:
    """New over old from two groups' logarithms: medians, and an interval from resampling both."""
    import random
    import statistics

    generator = random.Random(0)
    median = statistics.median(new) - statistics.median(old)
    found = sorted(
        statistics.median(generator.choices(new, k=len(new)))
        - statistics.median(generator.choices(old, k=len(old)))
        for _ in range(2000)
    )
    return Estimate(math.exp(median), math.exp(found[50]), math.exp(found[-51]))
