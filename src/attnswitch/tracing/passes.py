"""Watch whole passes of models that nobody named: the outermost model that is called.

A pass is profiled when its form is new and each time the number of such passes has doubled; the
hooks that mark the sites are there for the length of that pass alone, so that a model can be
copied, pickled and compiled as if nobody watched. Passes between those are counted, and stand for
what the last profiled pass of their form ran; unless FlashAttention, which is counted in every
pass, ran another number of times than then: those are unobserved but for it, and the next pass of
the form is profiled. A backward pass belongs to the forward pass that ran last on its thread.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from attnswitch import guard, intent
from attnswitch.sites import find_sites
from attnswitch.tracing.events import Node, Seen, attention_in, believable, range_name
from attnswitch.tracing.forms import asked_of, first_tensor, form_of, is_due, phase_of
from attnswitch.tracing.ledger import Call, Ledger
from attnswitch.tracing.operators import what_ran
from attnswitch.tracing.profiling import profiler, profiler_is_taken, raw_events
from attnswitch.types import Choice, Site
from attnswitch.whereabouts import root_of

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
        self._passes: Counter[Any] = Counter()
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
                self._passes[form] += 1
                due = is_due(self._passes[form])
            if due and not profiler_is_taken():
                output = self._profiled(model, form, forward, args, kwargs)
            else:
                intent.note_decisions()
                output = forward(*args, **kwargs)
                self._repeat(form, intent.take_decisions())
        finally:
            self._thread.inside = False
        self._changed()
        return output

    def _profiled(
        self, model: Any, form: Any, forward: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        marks = _SiteMarks(model, form)
        with marks, profiler() as profile:
            output = forward(*args, **kwargs)
        thread = self._thread
        seen = believable(attention_in(raw_events(profile)), thread.flash)
        thread.nodes.update({node: one for one in seen for node in one.nodes})
        thread.forward_profiled = True
        with self._lock:
            self._sites.update({call.name: call.site for call in marks.calls})
            self._learn(form, marks.calls, seen)
        return output

    def _learn(self, form: Any, calls: list[Call], seen: list[Seen]) -> None:
        """Account for a profiled pass, and keep what it ran for others of its form."""
        inside = {call.name for call in calls}
        self._calls[form], self._flash[form] = calls, self._thread.flash.copy()
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
                self._passes[form] = 0  # the next one is profiled
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
                self._passes[key] += 1
                due = thread.forward_profiled or self._passes[key] == 1
            if due and not profiler_is_taken():
                with profiler() as profile:
                    result = backward(*args, **kwargs)
                seen = believable(attention_in(raw_events(profile), thread.nodes), thread.flash)
                with self._lock:
                    self._learn(key, self._backward_calls(key, seen), seen)
            else:
                result = backward(*args, **kwargs)
                self._repeat(key)
        finally:
            thread.inside = thread.forward_profiled = False
            thread.nodes.clear()
        self._changed()
        return result

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


class _SiteMarks:
    """Marks each site of a model in the profile while the block lasts."""

    def __init__(self, model: Any, form: Any):
        self.calls: list[Call] = []
        self._model, self._form = model, form
        self._handles: list[Any] = []
        self._open: list[tuple[Any, Any]] = []

    def __enter__(self) -> _SiteMarks:
        # `generate` and projects call a vision tower by itself: name its sites as the whole does.
        inside = set(self._model.modules())
        for site, module in find_sites(root_of(self._model)).values():
            if module not in inside:
                continue
            self._handles += [
                module.register_forward_pre_hook(self._opener(site, module), with_kwargs=True),
                module.register_forward_hook(self._close),
            ]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        while self._open:
            self._open.pop()[1].__exit__(None, None, None)

    def _opener(self, site: Site, module: Any) -> Any:
        import torch

        def enter(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
            if torch.compiler.is_compiling():
                return
            hidden = first_tensor(args, kwargs)
            phase = phase_of(site, hidden)
            dtype = str(hidden.dtype).removeprefix("torch.") if hidden is not None else None
            self.calls.append(Call(site, phase, self._form, asked_of(module), guard.is_up(), dtype))
            record = torch.profiler.record_function(range_name(site, phase))
            record.__enter__()
            self._open.append((module, record))
            if self.calls[-1].ruled:
                intent.note_decisions()

        return enter

    def _close(self, module: Any, *_: Any) -> None:
        import torch

        if torch.compiler.is_compiling():
            return
        if any(owner is module for owner, _ in self._open):
            decided = intent.take_decisions() if self.calls[-1].ruled else ()
            if decided:
                self.calls[-1] = self.calls[-1].settled(decided)
            while self._open:
                owner, record = self._open.pop()
                record.__exit__(None, None, None)
                if owner is module:
                    return


__all__ = ["PassWatcher"]
