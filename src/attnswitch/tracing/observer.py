"""`trace(model)`: watch which attention kernel runs at each site, and write receipts.

The trace stands apart from the switch: it reads what was asked (`attnswitch.intent`) and compares
it with what PyTorch's profiler saw, so that the switch cannot vouch for itself. The profiler sees
operators in inference mode too, where a dispatch mode sees none.
"""

from __future__ import annotations

import functools
from typing import Any

from attnswitch.environment import require_torch
from attnswitch.sites import find_entries, find_sites
from attnswitch.tracing import taps
from attnswitch.tracing.forms import form_of
from attnswitch.tracing.ledger import Ledger
from attnswitch.tracing.stands import Stand
from attnswitch.tracing.watching import Watch
from attnswitch.types import Receipt


class trace:
    """Watch a model, or without one whatever runs in the block.

        with attnswitch.trace(model) as t:
            model.generate(...)
        t.receipts

    Receipts aggregate by site, phase and backend, so memory stays flat over any number of tokens.
    What runs as compiled code is told by site where one site alone is compiled, else without one.
    A backward pass is watched that follows a forward pass inside the block, on its thread. A
    receipt without a site says that something ran, place unknown: in the model's passes, or beside
    them where no other model was running (a compiled function that calls the model is such a
    place, and there FlashAttention alone is noticed). Without a model the whole block is profiled
    on this thread, and receipts carry no site. After the block no hook, mode or function remains.
    A trace may be entered again; receipts add up.
    """

    def __init__(self, model: Any = None):
        self.model = model
        self._ledger = Ledger()
        self._stands: list[Stand] = []
        self._undo: list[Any] = []
        self._watch: Watch | None = None
        self._listening = False

    @property
    def receipts(self) -> list[Receipt]:
        """What was seen so far, one receipt for each site, phase and backend."""
        return self._ledger.receipts()

    def to_json(self) -> dict[str, Any]:
        """The record `attnswitch.trace/1`."""
        return {
            "schema": "attnswitch.trace/1",
            "receipts": [receipt.to_json() for receipt in self.receipts],
        }

    def __enter__(self) -> trace:
        require_torch()
        root = getattr(self.model, "_orig_mod", self.model)  # under what torch.compile returns
        sites = find_sites(root) if root is not None else {}
        parts = () if root is None else root.modules()
        watch = self._watch = self._watch or Watch(self._ledger, sites, self._stands, parts)
        taps.listen(watch)
        self._listening = True
        if root is None:
            watch.begin("block")
            return self
        bearing = taps.bears_hooks(root)
        for entry in bearing.intersection(find_entries(root, sites)):
            enter = functools.partial(_enter_pass, watch)
            self._stands.append(Stand(entry, enter, watch.end))
        for site, module in sites.values():
            if module in bearing:
                enter = functools.partial(watch.enter_site, site)
                self._stands.append(Stand(module, enter, watch.leave_site))
        for module in root.modules():
            self._stand_at_compiled(module)
        return self

    def __exit__(self, *exception: object) -> None:
        watch = self._watch
        if watch is None or not self._listening:
            return
        self._listening = False
        while self._stands:
            self._stands.pop().take_down()
        while self._undo:
            self._undo.pop()()
        watch.end_all()
        taps.leave(watch)

    def _stand_at_compiled(self, module: Any) -> None:
        """`module.compile()` leaves a compiled call on the module, which hooks are inside of."""
        compiled = vars(module).get("_compiled_call_impl")
        if compiled is None:
            return
        heard = taps.around_compiled_of(module, compiled)
        module._compiled_call_impl = heard

        def back() -> None:
            if vars(module).get("_compiled_call_impl") is heard:
                module._compiled_call_impl = compiled

        self._undo.append(back)


def _enter_pass(watch: Watch, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
    watch.begin(form_of(module, args, kwargs))


__all__ = ["trace"]
