"""One workload under several requests, measured in turn: a cell of the grid, a row each.

Each request is watched once, so that its row says what ran; then all are timed round by round, with
the control beside them; then each one's memory is weighed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from operator import mul
from typing import Any

import torch

from attnswitch.bench import control
from attnswitch.bench.memory import peak_bytes
from attnswitch.bench.statistics import estimate
from attnswitch.bench.timing import Samples, Stop, Timed, interleave
from attnswitch.bench.workload import Ready
from attnswitch.errors import AttnSwitchError, ForbiddenError, UnavailableError
from attnswitch.policy.requests import Request
from attnswitch.switch import apply
from attnswitch.tracing.mismatches import mismatches
from attnswitch.tracing.observer import trace
from attnswitch.types import Receipt

Row = dict[str, Any]
Tell = Callable[[str], None]

# Switching clears caches of dispatch: what that costs the next call is no part of short ones.
WARM_BELOW_SECONDS = 1.0


@dataclass(frozen=True)
class Settings:
    """How a cell is measured.

    At least `least` and at most `rounds` rounds, within `seconds` once the least are there. A
    sample of a call shorter than `shortest` seconds is of several in a row.
    """

    least: int = 5
    rounds: int = 20
    seconds: float = 20.0
    shortest: float = 0.02
    memory: bool = True

    def stop(self) -> Stop:
        """When sampling ends."""
        return Stop(min(self.least, self.rounds), self.rounds, self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


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

    def samples(self, ready: Ready, samples: Samples) -> list[float]:
        """Seconds of a pass, round by round: of each piece, as often as it counts."""
        by_piece = (samples.seconds[name] for name in self.timed(ready, 1.0))
        times = [piece.times for piece in ready.pieces]
        return [sum(map(mul, times, one)) for one in zip(*by_piece, strict=True)]


def measure(
    ready: Ready,
    requests: Sequence[Request],
    settings: Settings,
    cell: str,
    left_out: dict[str, str] | None = None,
    tell: Tell = lambda _: None,
) -> list[Row]:
    """The rows of one cell, in the order of `requests`.

    `left_out` says of requests why they are not to be tried. One that cannot be met, or does not
    fit into memory, has a row that says so.
    """
    contenders: dict[str, Contender] = {}
    refused: dict[str, list[str]] = {word: [why] for word, why in (left_out or {}).items()}
    for request in requests:
        if request.word not in refused:
            tell(f"watching {request.word}")
            found = watch(ready, request)
            if isinstance(found, Contender):
                contenders[request.word] = found
            else:
                refused[request.word] = found
    timed = {
        name: call
        for one in contenders.values()
        for name, call in one.timed(ready, settings.shortest).items()
    }
    samples = _samples(ready, timed, settings, tell) if timed else Samples()
    rows = []
    for request in requests:
        row: Row = {"workload": ready.workload.to_json(), "request": request.word, "cell": cell,
                    "tokens": ready.workload.tokens}  # fmt: skip
        if request.word in refused:
            rows.append({**row, **_not_run(refused[request.word])})
            continue
        one = contenders[request.word]
        peak = None
        if settings.memory:
            tell(f"weighing {request.word}")
            peak = _peak(ready, request)
        rows.append({**row, **_measured(ready, one, samples), "peak_bytes": peak})
    return rows


def watch(ready: Ready, request: Request) -> Contender | list[str]:
    """The contender, or every reason why there is none."""
    try:
        with apply(ready.model, request):
            with trace(ready.model) as watched:
                ready.call()
            seconds = [_seconds(piece.call) for piece in ready.pieces]
    except UnavailableError as error:
        return list(error.reasons) or [str(error)]
    except ForbiddenError as error:
        return [f"a forbidden kernel was about to run: {error}"]
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return ["does not fit into memory"]
    return Contender(request, watched.receipts, seconds)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, AttnSwitchError):
        return False
    text = str(error)
    return isinstance(error, MemoryError) or any(
        word in text for word in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _samples(ready: Ready, timed: dict[str, Timed], settings: Settings, tell: Tell) -> Samples:
    device = ready.workload.device
    wait = torch.cuda.synchronize if device.startswith("cuda") else None
    stop = settings.stop()

    def on_round(rounds: int, seconds: float) -> None:
        left = max(0.0, stop.predicted_seconds(seconds / rounds) - seconds)
        tell(f"round {rounds}, {left:.0f} s left here")

    calls = {**timed, control.NAME: Timed(control.control_work(device))}
    tell("timing")
    return interleave(calls, stop, warm_up=0, synchronize=wait, on_round=on_round)


def _peak(ready: Ready, request: Request) -> int:
    with apply(ready.model, request):
        return peak_bytes(ready.call, ready.workload.device)


def _not_run(reasons: Sequence[str]) -> Row:
    return {"backend": None, "family": None, "seconds": None, "samples": [], "peak_bytes": None,
            "receipts": [], "status": "not run", "reasons": list(reasons)}  # fmt: skip


def _measured(ready: Ready, one: Contender, samples: Samples) -> Row:
    seconds = one.samples(ready, samples)
    wrong = mismatches(one.request, one.receipts)
    return {
        "backend": _only(receipt.backend for receipt in one.receipts),
        "family": _only(receipt.family for receipt in one.receipts),
        "seconds": estimate(seconds)._asdict(),
        "samples": seconds,
        "control": samples.seconds[control.NAME],
        "layers": [piece.times for piece in ready.pieces],
        "receipts": [receipt.to_json() for receipt in one.receipts],
        "status": "invalid" if wrong or not one.receipts else "valid",
        "reasons": wrong or ([] if one.receipts else ["no attention was seen to run"]),
    }


def _only(words: Iterable[str | None]) -> str:
    """The one word that all have, "unknown" where nothing was seen, else "mixed"."""
    found = {word or "unknown" for word in words}
    return found.pop() if len(found) == 1 else "mixed" if found else "unknown"
