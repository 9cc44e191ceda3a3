"""Watch single calls of scaled_dot_product_attention that belong to no watched pass.

Plain torch modules, timm and open_clip towers, and functions of a project's own get here. The
site is read from the stack; a call is profiled when its form is new and each time the number of
such calls has doubled, and counted in between.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from attnswitch import guard, intent
from attnswitch.tracing.events import Seen, attention_in
from attnswitch.tracing.forms import Looks, phase_of
from attnswitch.tracing.ledger import Call, Ledger
from attnswitch.tracing.profiling import Read, Span, begin_look
from attnswitch.types import Site
from attnswitch.whereabouts import current_site

_NOWHERE = Site("", "other", "operator")


class CallWatcher:
    """Fills a ledger from single SDPA calls. `changed` is called after each."""

    def __init__(self, ledger: Ledger, lock: Any, changed: Callable[[], None]):
        self._ledger, self._lock, self._changed = ledger, lock, changed
        self._looks = Looks()
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
        key = (site.path, phase, form)
        with self._lock:
            due = self._looks.due(key)
        look = begin_look() if due else None
        self._thread.inside = True
        note = intent.note_decisions() if call.ruled else None
        read: Read | None = None
        try:
            with _range(call.name) if look is not None else nullcontext():
                output = carry_out()
            read = functools.partial(self._read, call, key, note)
        finally:
            self._thread.inside = False
            intent.take_decisions(note)
            if look is not None:
                look.end(read)
        if look is None:
            with self._lock:
                if due:  # and somebody else profiles
                    self._looks.missed(key)
                self._account(call, key, note, None)
            self._changed()
        return output

    def _read(
        self, call: Call, key: Any, note: intent.Decisions | None, events: Any, within: Span
    ) -> None:
        seen = attention_in(events, within=within, own=(call.name,))
        with self._lock:
            self._account(call, key, note, seen)
        self._changed()

    def _account(
        self, call: Call, key: Any, note: intent.Decisions | None, seen: list[Seen] | None
    ) -> None:
        if note is not None and note.decided:
            call = call.settled(note.decided)
        if seen is None and call.decided and not self._ledger.knows(call):
            self._ledger.wait([call])
            self._looks.begin_again(key)
            return
        self._ledger.add(call)
        self._ledger.end_forward(seen or [], profiled=seen is not None)


def _range(name: str) -> Any:
    import torch

    return torch.profiler.record_function(name)


__all__ = ["CallWatcher"]
