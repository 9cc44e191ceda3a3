"""A request at a workload: watched once, to know what it runs, and what is timed of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from operator import mul

from attnswitch.bench.timing import Timed, waits_for
from attnswitch.bench.workload import Ready
from attnswitch.errors import AttnSwitchError, ForbiddenError, UnavailableError
from attnswitch.policy.requests import Request
from attnswitch.switch import apply
from attnswitch.tracing.observer import trace
from attnswitch.types import Receipt

# Switching clears caches of dispatch: what that costs the next call is no part of short ones.
WARM_BELOW_SECONDS = 1.0


@dataclass
class Contender:
    """A request that can be met: what it ran, and how long each piece took then, in seconds."""

    request: Request
    receipts: list[Receipt]
    seconds: list[float]

    def timed(self, ready: Ready, shortest: float) -> dict[str, Timed]:
        """What a sample of it times, piece by piece."""
        around: Callable[[], AbstractContextManager[object]] = partial(
            apply, ready.model, self.request
        )
        return {
            f"{self.request.word} {number}": Timed(
                piece.call, around, calls=max(1, min(1000, math.ceil(shortest / max(took, 1e-6)))),
                warm=1 if took < WARM_BELOW_SECONDS else 0,
            )
            for number, (piece, took) in enumerate(zip(ready.pieces, self.seconds, strict=True))
        }  # fmt: skip

    def of_passes(self, ready: Ready, by_name: Mapping[str, list[float]]) -> list[float]:
        """Seconds of a pass, round by round: of each piece, as often as it counts.

        `by_name` are samples of pieces, by their names in `timed`.
        """
        by_piece = (by_name[name] for name in self.timed(ready, 1.0))
        times = [piece.times for piece in ready.pieces]
        return [sum(map(mul, times, one)) for one in zip(*by_piece, strict=True)]


def watch(ready: Ready, request: Request) -> Contender | list[str]:
    """The contender, or every reason why there is none."""
    try:
        with apply(ready.model, request):
            with trace(ready.model) as watched:
                seconds = _seconds(ready)
            if sum(seconds) < WARM_BELOW_SECONDS:  # not the first call, which makes plans
                seconds = _seconds(ready)
    except UnavailableError as error:
        return list(error.reasons) or [str(error)]
    except ForbiddenError as error:
        return [f"a forbidden kernel was about to run: {error}"]
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return ["does not fit into memory"]
    return Contender(request, watched.receipts, seconds)


def _seconds(ready: Ready) -> list[float]:
    """How long each piece takes, once."""
    wait = waits_for(ready.workload.device)
    found = []
    for piece in ready.pieces:
        wait()
        start = time.perf_counter()
        piece.call()
        wait()
        found.append(time.perf_counter() - start)
    return found


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, AttnSwitchError):
        return False
    text = str(error)
    return isinstance(error, MemoryError) or any(
        word in text for word in ("out of memory", "can't allocate memory", "not enough memory")
    )
