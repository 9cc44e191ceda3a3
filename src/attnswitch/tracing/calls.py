"""Watch single calls of scaled_dot_product_attention that belong to no watched pass.

Plain torch modules, timm and open_clip towers, and functions of a project's own get here. The
site is read from the stack; a call is profiled when its form is new and each time the number of
such calls has doubled, and counted in between.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from attnswitch import guard, intent
from attnswitch.tracing.events import attention_in, range_name
from attnswitch.tracing.forms import is_due, phase_of
from attnswitch.tracing.ledger import Call, Ledger
from attnswitch.tracing.profiling import profiler, profiler_is_taken, raw_events
from attnswitch.types import Site
from attnswitch.whereabouts import current_site

_NOWHERE = Site("", "other", "operator")


class CallWatcher:
    """Fills a ledger from single SDPA calls. `changed` is called after each."""

    def __init__(self, ledger: Ledger, lock: Any, changed: Callable[[], None]):
        self._ledger, self._lock, self._changed = ledger, lock, changed
        self._counts: Counter[Any] = Counter()
        self._thread = threading.local()

    @property
    def inside(self) -> bool:
        """Whether a watched call is running on this thread."""
        return getattr(self._thread, "inside", False)

    def run(self, query: Any, carry_out: Callable[[], Any]) -> Any:
        """Carry one call out and note what it ran."""
        site = current_site() or _NOWHERE
        phase = phase_of(site, query)
        asked, guarded = intent.of_call(), guard.is_up()
        form = (query.requires_grad, asked, guarded)
        dtype = str(query.dtype).removeprefix("torch.")
        call = Call(site, phase, form, asked, guarded, dtype)
        with self._lock:
            key = (site.path, phase, form)
            self._counts[key] += 1
            due = is_due(self._counts[key])
        self._thread.inside = True
        if call.ruled:
            intent.note_decisions()
        try:
            if due and not profiler_is_taken():
                output, seen = _profiled(range_name(site, phase), carry_out)
            else:
                output, seen = carry_out(), None
        finally:
            self._thread.inside = False
        with self._lock:
            decided = intent.take_decisions() if call.ruled else ()
            if decided:
                call = call.settled(decided)
            if seen is None and call.decided and not self._ledger.knows(call):
                self._ledger.wait([call])
                self._counts[key] = 0
            else:
                self._ledger.add(call)
                self._ledger.end_forward(seen or [], profiled=seen is not None)
        self._changed()
        return output


def _profiled(name: str, carry_out: Callable[[], Any]) -> tuple[Any, Any]:
    import torch

    with profiler() as profile, torch.profiler.record_function(name):
        output = carry_out()
    return output, attention_in(raw_events(profile))


__all__ = ["CallWatcher"]
