"""One pass under watch: a forward pass of a model, a call of compiled code, or a backward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from attnswitch import intent
from attnswitch.operators import what_ran
from attnswitch.tracing.catching import Catcher
from attnswitch.tracing.events import Seen
from attnswitch.tracing.ledger import Call
from attnswitch.tracing.profiling import Look
from attnswitch.types import Choice


@dataclass
class Pass:
    """What is known of a pass while it runs on one thread.

    `look` is the profile that runs in it, if one does. `calls` are the sites' calls, `ranges` the
    open ranges in the profile with their names (the record is None where nothing is profiled),
    `flash` the FlashAttention kernels counted at their operators, `unseen` the ranges in which
    nothing was seen so far: what their operators give back is looked at, by `catcher`;
    `is_decided`: rules decided in some of the calls, as the open site's `note` tells.
    """

    form: Any
    backward: bool = False
    calls: list[Call] = field(default_factory=list)
    ranges: list[tuple[str, Any]] = field(default_factory=list)
    flash: list[Seen] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)
    is_decided: bool = False
    catcher: Catcher | None = None
    note: intent.Decisions | None = None
    look: Look | None = None
    takes_gradients: bool = False

    def open_range(self, name: str) -> None:
        """A site, or a part of the model that is compiled as one, begins."""
        record = None
        if self.look is not None:
            import torch

            record = torch.profiler.record_function(name)
            record.__enter__()
        self.ranges.append((name, record))

    def close_range(self) -> None:
        """The innermost open range ends."""
        if self.ranges:
            _, record = self.ranges.pop()
            if record is not None:
                record.__exit__(None, None, None)

    def catch_outputs(self, name: str) -> None:
        """The site of this range begins: look at what unknown operators in it give back, once."""
        catcher = Catcher()
        if self.catcher is None and catcher.start():
            self.unseen.discard(name)
            self.catcher = catcher

    def take_decisions(self) -> tuple[Choice, ...]:
        """What rules decided since the open site began; nothing where nobody noted."""
        note, self.note = self.note, None
        return intent.take_decisions(note)

    def count_flash(self, operator: str, args: tuple[Any, ...]) -> None:
        """A FlashAttention operator is about to run in this pass."""
        self.flash.append(flash_at_operator(operator, args, self.innermost()))

    def innermost(self) -> str | None:
        """The name of the innermost open range, or None outside every site."""
        return self.ranges[-1][0] if self.ranges else None


def flash_at_operator(operator: str, args: tuple[Any, ...], where: str | None) -> Seen:
    """What a call that was counted at a FlashAttention operator says."""
    ran = what_ran(operator)
    shapes = [list(a.shape) for a in args[:3] if hasattr(a, "shape")]
    dtype = str(args[0].dtype).removeprefix("torch.") if shapes else None
    backend = ran.backend if ran else "flash"
    return Seen(where, backend, "flash", [operator], shapes, dtype=dtype)
