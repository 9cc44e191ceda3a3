"""Mark each site of a model in a profile, for the length of one pass."""

from __future__ import annotations

from typing import Any

from attnswitch import guard, intent
from attnswitch.sites import find_sites
from attnswitch.tracing.events import range_name
from attnswitch.tracing.forms import asked_of, first_tensor, phase_of
from attnswitch.tracing.ledger import Call
from attnswitch.tracing.unasked import Unasked
from attnswitch.types import Choice, Site
from attnswitch.whereabouts import root_of


class SiteMarks:
    """Marks each site of a model in the profile while the block lasts."""

    def __init__(self, model: Any, form: Any):
        self.calls: list[Call] = []
        self._model, self._form = model, form
        self._handles: list[Any] = []
        self._open: list[tuple[Any, Any]] = []
        self._note: intent.Decisions | None = None

    def __enter__(self) -> SiteMarks:
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
        self._take()

    def _take(self) -> tuple[Choice, ...]:
        note, self._note = self._note, None
        return intent.take_decisions(note)

    def _opener(self, site: Site, module: Any) -> Any:
        import torch

        def enter(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
            if torch.compiler.is_compiling():
                return
            hidden = first_tensor(args, kwargs)
            phase = phase_of(site, hidden)
            dtype = str(hidden.dtype).removeprefix("torch.") if hidden is not None else None
            self.calls.append(
                Call(site, phase, self._form, asked_of(module), guard.is_up(), dtype,
                     unasked=Unasked.at(module, hidden))
            )  # fmt: skip
            record = torch.profiler.record_function(range_name(site, phase))
            record.__enter__()
            self._open.append((module, record))
            if self.calls[-1].ruled:
                self._take()  # of a site that did not come to its end
                self._note = intent.note_decisions()

        return enter

    def _close(self, module: Any, *_: Any) -> None:
        import torch

        if torch.compiler.is_compiling():
            return
        if any(owner is module for owner, _ in self._open):
            decided = self._take()
            if decided:
                self.calls[-1] = self.calls[-1].settled(decided)
            while self._open:
                owner, record = self._open.pop()
                record.__exit__(None, None, None)
                if owner is module:
                    return
