"""Add up what was asked, what was counted and what was seen, into receipts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from attnswitch import guard
from attnswitch.operators import is_flash_forward
from attnswitch.tracing.events import Seen, range_name
from attnswitch.tracing.tally import Tally
from attnswitch.tracing.unasked import Unasked
from attnswitch.types import Choice, Receipt, RuledChoice, Site


@dataclass
class Call:
    """A call of a site, or `times` calls that are alike.

    `guarded`: FlashAttention was barred on this thread; `everywhere`: in the whole process.
    `unasked`: what decides where nobody asked attnswitch. `decided`: what rules decided while the
    site ran. `name` is the range's, which holds site and phase; calls with one
    `key` run what the last profiled of them ran; `ruled`: rules are to decide while the site runs.
    Not to be changed once made: passes share it.
    """

    site: Site
    phase: str
    form: Any
    asked: Choice | None
    guarded: bool
    dtype: str | None
    times: int = 1
    everywhere: bool = False
    unasked: Unasked | None = None
    decided: tuple[Choice, ...] = ()
    name: str = field(init=False)
    key: tuple[str, Any] = field(init=False)
    ruled: bool = field(init=False)

    def __post_init__(self) -> None:
        """Name the call's range, and calls that are alike."""
        self.name = range_name(self.site, self.phase)
        self.key = (self.name, self.form)
        self.ruled = isinstance(self.asked, RuledChoice)

    def settled(self, decided: tuple[Choice, ...]) -> Call:
        """The call as rules decided it: of another form than one they decide otherwise."""
        form = (self.form, tuple((c.source, c.backend) for c in decided))
        return replace(self, asked=decided[-1], decided=decided, form=form)

    def asked_for(self, backend: str | None) -> Choice | None:
        """The choice that `backend` ran by, where rules decided several times in one call."""
        return next((c for c in self.decided if c.backend == backend), self.asked)


# What one call of a site ran: which backend and family, and how many times a call.
_Ran = tuple[str | None, str | None]


class Ledger:
    """Receipts in the making.

    `add` notes a call of a site, `end_forward` says what the profiler saw in the pass that the
    calls belong to; calls of passes that were not profiled count for what the last profiled pass
    of the same form ran at that site.
    """

    def __init__(self) -> None:
        self._tallies: dict[Any, Tally] = {}
        self._known: dict[tuple[str, Any], Counter[_Ran]] = {}
        self._operators: dict[tuple[str, Any], dict[_Ran, float]] = {}  # how often a call ran them
        self._pending: list[Call] = []
        self._fingerprinted: set[tuple[str, Any]] = set()
        self._looked_at: Counter[tuple[str, Any]] = Counter()
        self._waiting: dict[tuple[str, Any], Call] = {}

    def knows(self, call: Call) -> bool:
        """Whether it is known, or known to be untold, what calls like `call` ran."""
        return call.key in self._known

    def wait(self, calls: list[Call]) -> None:
        """Calls that rules decided as never before, in a pass that was not profiled: they stand
        for what the next profiled call of their form runs."""
        for call in calls:
            alike = self._waiting.get(call.key)
            times = call.times + alike.times if alike else call.times
            self._waiting[call.key] = replace(call, times=times)

    def add(self, call: Call) -> None:
        """A site computes attention in the pass that is under way."""
        self._pending.append(call)

    def end_forward(
        self,
        seen: list[Seen],
        *,
        profiled: bool,
        default: Choice | None = None,
        backward: bool = False,
    ) -> None:
        """The pass is over; `seen` is what the profiler found in it."""
        calls, self._pending = self._pending, []
        if profiled:
            for one in self._learn(calls, seen):
                self.add_outside(one, default, backward=backward)
        for call in calls:
            self._count(call, profiled)
        if profiled:
            for key in [key for key in self._waiting if key in self._known]:
                self._count(self._waiting.pop(key))

    def _learn(self, calls: list[Call], seen: list[Seen]) -> list[Seen]:
        """Note what each call ran; returns what ran in none of them."""
        by_range: dict[str | None, list[Seen]] = {}
        for one in seen:
            by_range.setdefault(one.range_name, []).append(one)
        times = Counter(call.name for call in calls)
        for call in calls:
            found = by_range.get(call.name, [])
            for one in found:
                self._tally(call, one.backend, one.family).note(one)
            ran = Counter((one.backend, one.family) for one in found)
            if not ran and call.key in self._fingerprinted:
                continue  # as little to be seen as before
            self._fingerprinted.discard(call.key)
            # What is compiled as one holds many sites; each evaluation in it is a call.
            divide = times[call.name] if not call.site.path else 10**9
            self._operators[call.key] = {k: n / times[call.name] for k, n in ran.items()}
            self._known[call.key] = Counter(
                {key: max(1, count // divide) for key, count in ran.items()}
            )
        return [one for one in seen if one.range_name not in times]

    def fingerprint(self, call: Call, ran: Counter[_Ran]) -> None:
        """What calls like `call` ran was told by their outputs (nothing: is told no longer)."""
        key = call.key
        if self._known.get(key) and key not in self._fingerprinted:
            return  # it was seen meanwhile, on another thread
        self._known[key] = ran
        self._looked_at[key] += 1
        (self._fingerprinted.add if ran else self._fingerprinted.discard)(key)

    def _tally(self, call: Call, backend: str | None, family: str | None) -> Tally:
        asked = call.asked_for(backend) if call.decided else call.asked
        by = (asked.source, asked.backend) if asked and call.decided else None
        key = (call.site.path, call.site.role, call.phase, backend, family, by)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(call.site, call.phase, backend, family)
        tally.asked, tally.dtype = asked, tally.dtype or call.dtype
        tally.unasked = call.unasked
        return tally

    def _count(self, call: Call, profiled: bool = False) -> None:
        """Count a call as what calls like it ran; `profiled`: it was looked at itself."""
        ran = self._known.get(call.key) or {(None, None): 1}
        by_fingerprint = call.key in self._fingerprinted
        looked_at = self._looked_at.pop(call.key, 0) if by_fingerprint else profiled
        for (backend, family), evaluations in ran.items():
            tally = self._tally(call, backend, family)
            tally.by_fingerprint = tally.by_fingerprint or by_fingerprint
            times = call.times * evaluations
            tally.calls += times
            # FlashAttention is counted at its operators in every pass, and so was this call's.
            counted = any(map(is_flash_forward, tally.executed)) and guard.can_pass_through()
            looks = 0 if backend is None else min(looked_at, call.times)
            tally.seen += times if counted else looks * evaluations
            often = self._operators.get(call.key, {}).get((backend, family), evaluations)
            tally.operators += call.times * often
            tally.unguarded += times * (not call.guarded)
            tally.not_everywhere += times * (not call.everywhere)

    def add_outside(
        self, one: Seen, asked: Choice | None, *, backward: bool = False, guarded: bool = False
    ) -> None:
        """Attention that was seen where no site is known, its phase read from its form."""
        rows = one.shapes[0][-2:-1] if one.shapes else []
        backward = backward or one.backward
        phase = "backward" if backward else "decode" if rows == [1] else "prefill"
        self.add_without_site(one, phase, asked, guarded=guarded)

    def add_without_site(
        self, one: Seen, phase: str, asked: Choice | None, *, times: int = 1, guarded: bool = False
    ) -> None:
        """Attention that was seen, or counted at the operator, where no site is known."""
        key = (None, None, phase, one.backend, one.family, None)
        tally = self._tallies.setdefault(
            key, Tally(None, phase, one.backend, one.family, asked=asked)
        )
        tally.note(one)
        tally.calls += times
        tally.seen += times
        tally.operators += times
        tally.unguarded += times * (not guarded)
        tally.not_everywhere += times * (not guarded)

    def times_of(self, operators: Iterable[str]) -> int:
        """How many times one of these operators ran in the calls that the ledger holds."""
        wanted = set(operators)
        return round(sum(t.operators for t in self._tallies.values() if wanted & set(t.executed)))

    def receipts(self) -> list[Receipt]:
        """One receipt a tally, in the order the sites first ran."""
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for call in waiting.values():
                self._count(call)
        return [tally.receipt() for tally in self._tallies.values() if tally.calls]
