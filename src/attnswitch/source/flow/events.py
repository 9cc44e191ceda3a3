"""What the interpreter saw happen, under which conditions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attnswitch.source.flow.values import ALWAYS, Guard
from attnswitch.source.records import Line


@dataclass(frozen=True)
class Event:
    """One thing that decides, runs or needs an attention kernel.

    kind is load (a model is loaded with this setting), write (a configuration is written),
    patch (attention is replaced), call (a kernel runs), need (a package must import) or
    demand (the program stops otherwise). `family` is flash, sdpa, eager, xformers, off,
    default, triton, or asked:<text> where the value could not be followed. `source` is the line
    that the value was written in, if it was handed on from elsewhere. `model` is the family of
    the model that is loaded or patched, where it is known.
    """

    kind: str
    family: str
    at: Line
    role: str = "language_model"
    guard: Guard = ALWAYS
    detail: str = ""
    source: Line | None = None
    model: str = ""

    def under(self, guard: Guard) -> Event:
        """The same event under further conditions."""
        return replace(self, guard=self.guard | guard) if guard else self
