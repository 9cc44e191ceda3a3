"""Watch whole passes of models that nobody named: the outermost model that is called.

A pass is profiled when its form is new and each time the number of such passes has doubled; the
hooks that mark the sites are there for the length of that pass alone, so that a model can be
copied, pickled and compiled as if nobody watched. Passes between those are counted, and stand for
what the last profiled pass of their form ran; unless FlashAttention, which is counted in every
pass, ran another number of times than then: those are unobserved but for it, and the next pass of
the form is profiled. A backward pass belongs to the forward pass that ran last on its thread.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from attnswitch import guard, intent
from attnswitch.operators import what_ran
from attnswitch.tracing.events import Node, Seen, attention_in, believable, range_name
from attnswitch.tracing.forms import Looks, form_of
from attnswitch.tracing.ledger import Call, Ledger
from attnswitch.tracing.profiling import Look, Span, begin_look
from attnswitch.tracing.site_marks import SiteMarks
from attnswitch.types import Choice, Site

_BACKWARD = "backward"


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.inside = False
        self.last_form: Any = None
        self.flash: Counter[str] = Counter()
        self.nodes: dict[Node, Seen] = {}
        self.forward_profiled = False


class PassWatcher:
    """Fills a ledger from the passes it is told of. `changed` is called after each."""

    def __init__(self, ledger: Ledger, lock: Any, changed: Callable[[], None]):
        self._ledger, self._lock, self._changed = ledger, lock, changed
        self._thread = _PerThread()
        self._looks = Looks()
        self._calls: dict[Any, list[Call]] = {}
        self._outside: dict[Any, list[Seen]] = {}
        self._flash: dict[Any, Counter[str]] = {}
        self._decided: dict[Any, set[tuple[str, str]]] = {}
        self._sites: dict[str, Site] = {}

    @property
    def inside(self) -> bool:
        """Whether a watched pass is running on this thread."""
        return self._thread.inside

    def count_flash(self, operator: str) -> None:
        """A FlashAttention operator is about to run, on this thread."""
        if self._thread.inside:
            self._thread.flash[operator] += 1

    def run(self, model: Any, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call `forward(*args, **kwargs)`, which runs `model`, and note what it ran."""
        if self._thread.inside:
            return forward(*args, **kwargs)
        form = (type(model).__name__, form_of(model, args, kwargs), intent.of_process(),
                guard.is_up())  # fmt: skip
        self._thread.inside, self._thread.last_form = True, form
        self._thread.flash.clear()
        try:
            with self._lock:
                due = self._looks.due(form)
            look = begin_look() if due else None
            if due and look is None:  # somebody else profiles
                with self._lock:
                    self._looks.missed(form)
            if look is not None or form not in self._calls:
                output = self._watched(model, form, look, forward, args, kwargs)
            else:
                note = intent.note_decisions()
                try:
                    output = forward(*args, **kwargs)
                finally:
                    intent.take_decisions(note)
                self._repeat(form, note.decided)
        finally:
            self._thread.inside = False
        self._changed()
        return output

    def _watched(
        self, model: Any, form: Any, look: Look | None, forward: Callable[..., Any],
        args: Any, kwargs: Any,
    ) -> Any:  # fmt: skip
        """A pass whose sites are marked; without a look it is not known what they ran."""
        marks, read = SiteMarks(model, form), None
        try:
            with marks:
                output = forward(*args, **kwargs)
            read = functools.partial(self._read, form, marks.calls, self._thread.flash.copy())
        finally:
            if look is not None:
                look.end(read)
        if look is None:
            with self._lock:
                self._add_unlike(marks.calls, self._thread.flash, backward=False)
        return output

    def _read(
        self, form: Any, calls: list[Call], flash: Counter[str], events: Any, within: Span
    ) -> None:
        own = {call.name for call in calls}
        seen = believable(attention_in(events, within=within, own=own), flash)
        thread = self._thread
        thread.nodes.update({node: one for one in seen for node in one.nodes})
        thread.forward_profiled = True
        with self._lock:
            self._sites.update({call.name: call.site for call in calls})
            self._learn(form, calls, seen, flash)

    def _learn(self, form: Any, calls: list[Call], seen: list[Seen], flash: Counter[str]) -> None:
        """Account for a profiled pass, and keep what it ran for others of its form."""
        inside = {call.name for call in calls}
        self._calls[form], self._flash[form] = calls, flash
        self._decided[form] = {(c.source, c.backend) for call in calls for c in call.decided}
        self._outside[form] = [one for one in seen if one.range_name not in inside]
        for call in calls:
            self._ledger.add(call)
        placed = [one for one in seen if one.range_name in inside]
        self._ledger.end_forward(placed, profiled=True)
        self._add_outside(form)

    def _repeat(self, form: Any, decided: tuple[Choice, ...] = ()) -> None:
        """Account for a pass that was not profiled: as the last profiled one of its form.

        Unless rules `decided` otherwise than in that one: then it is unobserved.
        """
        calls, counted = self._calls.get(form, []), self._thread.flash
        with self._lock:
            told = {(choice.source, choice.backend) for choice in decided}
            otherwise = told != self._decided.get(form, set())
            if otherwise or counted != self._flash.get(form, Counter()):
                self._looks.begin_again(form)
                if otherwise:
                    calls = [_undecided(call) for call in calls]
                self._add_unlike(calls, counted, backward=form[0] is _BACKWARD)
                return
            for call in calls:
                self._ledger.add(call)
            self._ledger.end_forward([], profiled=False)
            self._add_outside(form)

    def _add_outside(self, form: Any) -> None:
        for one in self._outside.get(form, ()):
            backward = form[0] is _BACKWARD
            self._ledger.add_outside(one, intent.of_process(), backward=backward,
                                     guarded=guard.is_up())  # fmt: skip

    def _add_unlike(self, calls: list[Call], counted: Counter[str], *, backward: bool) -> None:
        """FlashAttention as it was counted, place unknown; what else ran is unknown."""
        for operator, times in counted.items():
            ran = what_ran(operator)
            phase = _BACKWARD if backward else calls[0].phase if calls else "prefill"
            if ran is not None:
                one = Seen(None, ran.backend, ran.family, [operator])
                self._ledger.add_without_site(one, phase, intent.of_process(), times=times)
        for call in calls:
            self._ledger.add(replace(call, form=(call.form, "counted")))
        self._ledger.end_forward([], profiled=False)

    def run_backward(self, backward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call `backward(*args, **kwargs)`, autograd's engine, and note what it ran."""
        if self._thread.inside:
            return backward(*args, **kwargs)
        thread = self._thread
        key = (_BACKWARD, thread.last_form, intent.of_process(), guard.is_up())
        thread.inside = True
        thread.flash.clear()
        try:
            with self._lock:
                # Sites are told by what the forward pass left in autograd's graph.
                due = thread.forward_profiled or key not in self._calls
            look, read = begin_look() if due else None, None
            try:
                result = backward(*args, **kwargs)
                read = functools.partial(
                    self._read_backward, key, thread.nodes.copy(), thread.flash.copy()
                )
            finally:
                if look is not None:
                    look.end(read)
            if look is None:
                self._repeat(key)
        finally:
            thread.inside = thread.forward_profiled = False
            thread.nodes.clear()
        self._changed()
        return result

    def _read_backward(
        self, key: Any, nodes: dict[Node, Seen], flash: Counter[str], events: Any,
        within: Span,
    ) -> None:  # fmt: skip
        seen = believable(attention_in(events, nodes, within=within), flash)
        with self._lock:
            self._learn(key, self._backward_calls(key, seen), seen, flash)

    def _backward_calls(self, key: Any, seen: list[Seen]) -> list[Call]:
        """A call for each site's backward that was seen; what was seen gets its range."""
        calls = []
        for one in seen:
            site = self._sites.get(one.range_name or "") if one.backward else None
            if site is not None:
                one.range_name = range_name(site, "backward")
                calls.append(Call(site, "backward", key, key[2], key[3], one.dtype))
        return calls


def _undecided(call: Call) -> Call:
    """The call, where it is not known what rules decided at it."""
    return replace(call, asked=intent.of_process(), decided=()) if call.decided else call


__all__ = ["PassWatcher"]
