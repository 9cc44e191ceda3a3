"""Watch the passes of one model on every thread, and fill a ledger.

A pass is profiled when its form is new and each time the number of such passes has doubled. The
others are counted, each call at its site, and stand for what the last profiled pass of their form
ran; whether FlashAttention ran as often as then is counted at its operators, in every pass. Where
the count differs, what was counted is what the receipt says, and the next pass is profiled.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from attnswitch import guard, intent
from attnswitch.backends.catalogue import family_of
from attnswitch.tracing.a_pass import Pass, flash_at_operator
from attnswitch.tracing.events import Node, Seen, attention_in, believable, range_name
from attnswitch.tracing.forms import Looks, asked_of, first_tensor, form_of, phase_of
from attnswitch.tracing.ledger import Call, Ledger
from attnswitch.tracing.profiling import Span, begin_look
from attnswitch.tracing.regions import Region, regions_phase
from attnswitch.tracing.settings import Settings
from attnswitch.tracing.stands import Stand, aside
from attnswitch.tracing.taps import Run
from attnswitch.tracing.unasked import Unasked
from attnswitch.types import Site
from attnswitch.whereabouts import modules_running

_MOST_FORWARDS = 64  # whose backward is expected; older ones are forgotten


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.depth = 0
        self.current: Pass | None = None
        self.forwards: deque[Any] = deque(maxlen=_MOST_FORWARDS)
        self.nodes: dict[Node, Seen] = {}


class Watch:
    """Fills `ledger` from what it is told by hooks and taps.

    `sites` are the model's, `stands` the hooks on it, `parts` all of its modules.
    """

    def __init__(
        self,
        ledger: Ledger,
        sites: Mapping[str, tuple[Site, Any]],
        stands: Sequence[Stand],
        parts: Iterable[Any] = (),
    ):
        self._ledger, self._stands = ledger, stands
        self._parts = {id(part) for part in parts}
        self._settings = Settings(sites)
        self._by_range = {
            range_name(site, phase): (site, module)
            for site, module in sites.values()
            for phase in ("vision", "prefill", "decode", "backward")
        }
        self._sites = list(sites.values())
        self._lock = threading.RLock()
        self._thread = _PerThread()
        self._numbers: dict[Any, int] = {}
        self._calls: dict[Any, Call] = {}
        self._looks = Looks()
        self._flash: dict[Any, Counter[tuple[str | None, str]]] = {}
        self._outside: dict[Any, list[Seen]] = {}
        self._backward_calls: dict[Any, list[Call]] = {}
        self._unseen: dict[Any, set[str]] = {}  # ranges to look at by their outputs, by form

    # Passes -------------------------------------------------------------------------------------

    def begin(self, form: Any, *, backward: bool = False) -> None:
        """A pass begins on this thread; inside another one it is part of that."""
        thread = self._thread
        thread.depth += 1
        if thread.depth > 1:
            return
        with self._lock:
            # A form is long, and hashed for each call: its number stands for it from here on.
            form = self._numbers.setdefault((form, self._settings.now()), len(self._numbers))
            one = Pass(form, backward)
            due = self._looks.due(form)
        if due:
            one.look = begin_look()
            if one.look is None:
                with self._lock:
                    self._looks.missed(form)
        if one.look is None and not backward:
            one.unseen = self._unseen.get(form, one.unseen)
        thread.current = one

    def end(self) -> None:
        """The pass that began last on this thread ends."""
        thread = self._thread
        if thread.depth == 0:
            return
        thread.depth -= 1
        if thread.depth > 0 or thread.current is None:
            return
        one, thread.current = thread.current, None
        if one.catcher is not None:
            one.catcher.stop()
        one.take_decisions()
        while one.ranges:
            one.close_range()
        one.takes_gradients = sys.modules["torch"].is_grad_enabled()
        if one.look is None:
            self._account_for(one, None)
        else:
            one.look.end(functools.partial(self._read, one, thread.nodes))

    def _read(self, one: Pass, nodes: dict[Node, Seen], events: Any, within: Span) -> None:
        own = None if one.backward else self._ranges_of(one)
        seen = attention_in(events, nodes, within=within, own=own)
        self._account_for(one, seen)

    def _account_for(self, one: Pass, seen: list[Seen] | None) -> None:
        with self._lock:
            self._account(one, seen)
        self._keep_for_backward(one, seen)

    def end_all(self) -> None:
        """End what an exception left open on this thread."""
        while self._thread.depth:
            self.end()

    def _account(self, one: Pass, seen: list[Seen] | None) -> None:
        counted = Counter((ran.range_name, ran.names[0]) for ran in one.flash)
        default = intent.of_process()
        form = one.form
        if seen is None and not one.backward and form not in self._unseen:
            self._note_unseen(form, one, None)  # somebody else profiles
        if one.is_decided:
            if seen is None and any(c.decided and not self._ledger.knows(c) for c in one.calls):
                self._ledger.wait(one.calls)
                self._looks.begin_again(form)
                return
            one.form = _with_decisions(one)
        if seen is not None:
            seen = believable(seen, {name for _, name in counted})
            self._flash[one.form] = counted
            self._place_backward(one, seen)
            self._note_unseen(form, one, seen)
            self._outside[one.form] = [s for s in seen if s.range_name not in self._ranges_of(one)]
            self._backward_calls[one.form] = one.calls
        elif one.backward:
            one.calls = self._backward_calls.get(one.form, one.calls)
        if seen is None and counted != self._flash.get(one.form, Counter()):
            seen = one.flash  # not what ran when a pass of this form was last profiled
            one.calls = [replace(call, form=(call.form, "counted")) for call in one.calls]
            self._looks.begin_again(form)
        elif seen is None:
            for again in self._outside.get(one.form, ()):
                self._ledger.add_outside(again, default, backward=one.backward)
        if one.backward and not (one.calls or seen or self._outside.get(one.form)):
            one.calls = [self._call(Site("", "other"), None, "backward", one.form, None)]
        for call in one.calls:
            self._ledger.add(call)
        self._ledger.end_forward(
            seen or [], profiled=seen is not None, default=default, backward=one.backward
        )

    def _note_unseen(self, form: Any, one: Pass, seen: list[Seen] | None) -> None:
        """Remember at which sites of a pass nothing was seen, to look at their outputs once."""
        told = {s.range_name for s in seen or ()}
        self._unseen[form] = {name for name in self._ranges_of(one) if name not in told}

    def _take_fingerprint(self, one: Pass) -> None:
        """Name what the site that ends now ran, where its outputs tell; all of them, or none."""
        assert one.catcher is not None
        caught, one.catcher = one.catcher.stop(), None
        # PyTorch's own FlashAttention is counted wherever it runs: told twice it would count twice.
        known = None not in caught and "flash" not in caught
        ran: Counter[tuple[str | None, str | None]] = Counter()
        if known:
            ran.update((backend, family_of(backend)) for backend in caught)
        call = one.calls[-1]
        with self._lock:
            if ran or not call.decided or self._ledger.knows(call):
                self._ledger.fingerprint(call, ran)

    @staticmethod
    def _ranges_of(one: Pass) -> set[str]:
        return {call.name for call in one.calls}

    def _call(
        self, site: Site, module: Any, phase: str, form: Any, dtype: str | None, given: Any = None
    ) -> Call:
        unasked = Unasked.at(module, given) if module is not None else None
        return Call(site, phase, form, asked_of(module), guard.is_up(), dtype,
                    everywhere=guard.is_up_everywhere(), unasked=unasked)  # fmt: skip

    # Sites --------------------------------------------------------------------------------------

    def enter_site(self, site: Site, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """A site's forward begins."""
        one = self._thread.current
        if one is None:
            return
        hidden = first_tensor(args, kwargs)
        phase = "backward" if one.backward else phase_of(site, hidden)
        dtype = hidden.dtype if hidden is not None else None
        key = (one.form, site.path, phase, dtype)
        call = self._calls.get(key)
        if call is None:
            told = str(dtype).removeprefix("torch.") if dtype is not None else None
            call = self._calls[key] = self._call(site, module, phase, one.form, told, hidden)
        one.calls.append(call)
        if call.name in one.unseen:
            one.catch_outputs(call.name)
        one.open_range(call.name)
        if call.ruled:
            one.take_decisions()  # of a site that did not come to its end
            one.note = intent.note_decisions()

    def leave_site(self) -> None:
        """A site's forward ends."""
        one = self._thread.current
        if one is None:
            return
        if one.note is not None:
            self._settle(one)
        if one.catcher is not None:
            self._take_fingerprint(one)
        one.close_range()

    def _settle(self, one: Pass) -> None:
        """Rules decided in the site that ends now: its call is one of those decided so."""
        decided = one.take_decisions()
        if not decided:
            return
        call = one.calls[-1]
        key = (call.key, call.dtype, decided)
        settled = self._calls.get(key)
        if settled is None:
            settled = self._calls[key] = call.settled(decided)
        one.calls[-1], one.is_decided = settled, True

    # What taps tell -----------------------------------------------------------------------------

    def around_whole(self, module: Any, args: Any, kwargs: Any, run: Run) -> Any:
        """`module` runs as one, compiled or fused: its sites cannot be told apart inside."""
        region = Region.of(module, self._sites)
        if region is None:
            return run()
        self.begin(("whole", type(module).__name__, form_of(module, args, kwargs)))
        one = self._thread.current
        assert one is not None
        phase = "backward" if one.backward else regions_phase(region, args, kwargs)
        one.calls.append(self._call(region.site, region.module, phase, one.form, None))
        one.open_range(range_name(region.site, phase))
        try:
            with aside(self._stands, module):
                return run()
        finally:
            one.close_range()
            self.end()

    def around_backward(self, run: Run) -> Any:
        """Autograd's engine runs; watched where a forward pass of the model led to it."""
        thread = self._thread
        if thread.depth or not thread.forwards:
            return run()
        self.begin(("backward", tuple(thread.forwards)), backward=True)
        try:
            return run()
        finally:
            self.end()
            thread.forwards.clear()
            thread.nodes = {}  # a look that is read later keeps its own

    def while_compiling(self) -> AbstractContextManager[None]:
        """Code is compiled: hooks would be compiled into it, and guarded on."""
        return aside(self._stands)

    def flash_ran(self, operator: str, args: tuple[Any, ...]) -> None:
        """FlashAttention runs on this thread, in a pass of the model or beside one.

        Beside one it may still be the model's: on a thread that it started, or in a compiled
        function that calls it. It is not where another model alone is running on this thread.
        """
        one = self._thread.current
        if one is not None:
            one.count_flash(operator, args)
            return
        running = {id(module) for module in modules_running() if not _is_compiled(module)}
        if running and not running & self._parts:
            return
        with self._lock:
            seen = flash_at_operator(operator, args, None)
            self._ledger.add_outside(seen, intent.of_process())

    # Backward -----------------------------------------------------------------------------------

    def _keep_for_backward(self, one: Pass, seen: list[Seen] | None) -> None:
        if one.backward or not one.takes_gradients:
            return
        thread = self._thread
        thread.forwards.append(one.form)
        for ran in seen or ():
            thread.nodes.update(dict.fromkeys(ran.nodes, ran))

    def _place_backward(self, one: Pass, seen: list[Seen]) -> None:
        """Give each backward operator the range of its site, and the site a call for it."""
        calls = Counter(call.name for call in one.calls)
        found: Counter[str] = Counter()
        for ran in seen:
            site, module = self._by_range.get(ran.range_name or "", (None, None))
            if not one.backward or site is None:
                continue
            ran.range_name = range_name(site, "backward")
            found[ran.range_name] += ran.backward
            if found[ran.range_name] > calls[ran.range_name]:
                calls[ran.range_name] += 1
                one.calls.append(self._call(site, module, "backward", one.form, ran.dtype))


def _with_decisions(one: Pass) -> Any:
    """The form of a pass, with what rules decided in it."""
    return (one.form, tuple((c.source, c.backend) for call in one.calls for c in call.decided))


def _is_compiled(module: Any) -> bool:
    """Whether a module is the graph that somebody's code was compiled to."""
    fx = sys.modules.get("torch.fx")
    return fx is not None and isinstance(module, fx.GraphModule)
