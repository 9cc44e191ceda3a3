"""How long the rest of a grid will take, told from what the first cells took."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from attnswitch.bench.grid import total_work
from attnswitch.bench.workload import Workload


class TimeLeft:
    """Seconds for a unit of work, learned for each kind of workload as cells are finished."""

    def __init__(self, workloads: Sequence[Workload]):
        self._workloads = list(workloads)
        self._work: dict[Hashable, float] = {}
        self._seconds: dict[Hashable, float] = {}

    def finished(self, workload: Workload, seconds: float) -> None:
        """A cell took so long."""
        for one in (kind(workload), None):
            self._work[one] = self._work.get(one, 0.0) + total_work(workload)
            self._seconds[one] = self._seconds.get(one, 0.0) + seconds

    def after(self, done: int) -> float | None:
        """Seconds that the workloads from number `done` on will take; None while nothing is known.

        A kind of which no cell is finished is assumed to be as quick as the others together.
        """
        if None not in self._work:
            return None
        return sum(self._rate(one) * total_work(one) for one in self._workloads[done:])

    def _rate(self, workload: Workload) -> float:
        known = kind(workload) if kind(workload) in self._work else None
        return self._seconds[known] / self._work[known]


def kind(workload: Workload) -> Hashable:
    """What workloads of other lengths and batches share."""
    return workload.subject, workload.part, workload.phase, workload.dtype
