"""Watch whole passes of models that nobody named: the outermost model that is called.

A pass is profiled when its form is new and each time the number of such passes has doubled; the
hooks that mark the sites are there for the length of that pass alone, so that a model can be
copied, pickled and compiled as if nobody watched. Passes between those are counted, and stand for
what the last profiled pass of their form ran.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from attnswitch import guard, intent
from attnswitch.sites import find_sites
from attnswitch.tracing.events import Seen, attention_in, range_name
from attnswitch.tracing.forms import asked_of, first_tensor, form_of, is_due, phase_of
from attnswitch.tracing.ledger import Call, Ledger
from attnswitch.types import Site
from attnswitch.whereabouts import root_of


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.inside = False
        self.last_form: Any = None


class PassWatcher:
    """Fills a ledger from the passes it is told of. `changed` is called after each."""

    def __init__(self, ledger: Ledger, lock: Any, changed: Callable[[], None]):
        self._ledger, self._lock, self._changed = ledger, lock, changed
        self._thread = _PerThread()
        self._passes: Counter[Any] = Counter()
        self._calls: dict[Any, list[Call]] = {}
        self._outside: dict[Any, list[Seen]] = {}

    @property
    def inside(self) -> bool:
        """Whether a watched pass is running on this thread."""
        return self._thread.inside

    def run(self, model: Any, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call `forward(*args, **kwargs)`, which runs `model`, and note what it ran."""
        if self._thread.inside:
            return forward(*args, **kwargs)
        form = (type(model).__name__, form_of(model, args, kwargs), intent.of_process(),
                guard.is_up())  # fmt: skip
        self._thread.inside, self._thread.last_form = True, form
        try:
            with self._lock:
                self._passes[form] += 1
                due = is_due(self._passes[form])
            if due and not profiler_is_taken():
                output = self._profiled(model, form, forward, args, kwargs)
            else:
                intent.note_decisions()
                output = forward(*args, **kwargs)
                self._repeat(form, {(c.source, c.backend) for c in intent.take_decisions()})
        finally:
            self._thread.inside = False
        self._changed()
        return output

    def _profiled(
        self, model: Any, form: Any, forward: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        marks = _SiteMarks(model, form)
        with marks, profile() as profiler:
            output = forward(*args, **kwargs)
        seen = attention_in(profiler.profiler.kineto_results.events())
        with self._lock:
            self._calls[form] = marks.calls
            self._outside[form] = [one for one in seen if one.range_name is None]
            for call in marks.calls:
                self._ledger.add(call)
            self._ledger.end_forward(seen, profiled=True, default=intent.of_process())
        return output

    def _repeat(self, form: Any, decided: set[tuple[str, str]]) -> None:
        with self._lock:
            calls = self._calls.get(form, ())
            if decided != {(c.source, c.backend) for call in calls for c in call.decided}:
                # Rules decided otherwise than in the pass that was profiled: look again.
                self._passes[form] = 0
                calls = [replace(c, form="not seen", asked=intent.of_process(), decided=())
                         for c in calls]  # fmt: skip
            for call in calls:
                self._ledger.add(call)
            self._ledger.end_forward([], profiled=False)
            for one in self._outside.get(form, ()):
                rows = one.shapes[0][-2:-1] if one.shapes else []
                phase = "decode" if rows == [1] else "prefill"
                self._ledger.add_without_site(one, phase, intent.of_process())

    def run_backward(self, backward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call `backward(*args, **kwargs)`, autograd's engine, and note what it ran."""
        if self._thread.inside:
            return backward(*args, **kwargs)
        key = ("backward", self._thread.last_form)
        asked, guarded = intent.of_process(), guard.is_up()
        self._thread.inside = True
        try:
            with self._lock:
                self._passes[key] += 1
                due = is_due(self._passes[key])
            if due and not profiler_is_taken():
                with profile() as profiler:
                    result = backward(*args, **kwargs)
                seen = attention_in(profiler.profiler.kineto_results.events())
                with self._lock:
                    self._outside[key] = seen
            else:
                result = backward(*args, **kwargs)
        finally:
            self._thread.inside = False
        with self._lock:
            for one in self._outside.get(key, ()):
                self._ledger.add_without_site(one, "backward", asked, guarded=guarded)
        self._changed()
        return result


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
            intent.note_decisions()

        return enter

    def _close(self, module: Any, *_: Any) -> None:
        import torch

        if torch.compiler.is_compiling():
            return
        if any(owner is module for owner, _ in self._open):
            decided = intent.take_decisions()
            if decided:
                self.calls[-1].settle(decided)
            while self._open:
                owner, record = self._open.pop()
                record.__exit__(None, None, None)
                if owner is module:
                    return


def profile() -> Any:
    """A profiler of operators and their shapes."""
    import torch

    return torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
    )


def profiler_is_taken() -> bool:
    """Whether somebody profiles already: what runs then is counted, not named."""
    import torch

    return torch.autograd._profiler_enabled()


__all__ = ["PassWatcher", "profile", "profiler_is_taken"]
