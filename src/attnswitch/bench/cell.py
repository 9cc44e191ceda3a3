"""One workload under several requests, measured in turn: a cell of the grid, a row each.

Each request is watched once, so that its row says what ran; then all are timed round by round, with
the control beside them; then each one's memory is weighed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from attnswitch.bench import control
from attnswitch.bench.contender import Contender, watch
from attnswitch.bench.memory import peak_bytes
from attnswitch.bench.statistics import estimate
from attnswitch.bench.timing import Samples, Stop, Timed, interleave, waits_for
from attnswitch.bench.workload import Piece, Ready
from attnswitch.policy.requests import Request
from attnswitch.switch import apply
from attnswitch.tracing.mismatches import mismatches

Row = dict[str, Any]
Tell = Callable[[str], None]


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
    samples = _samples(ready, contenders, settings, tell) if contenders else Samples()
    numbers = {word: number for number, word in enumerate(contenders)}
    rows = []
    for request in requests:
        row: Row = {"workload": ready.workload.to_json(), "request": request.word, "cell": cell,
                    "tokens": ready.workload.tokens}  # fmt: skip
        if request.word in refused:
            rows.append({**row, **_not_run(refused[request.word])})
            continue
        one, number = contenders[request.word], numbers[request.word]
        peak = None
        if settings.memory:
            tell(f"weighing {request.word}")
            peak = _peak(ready, request)
        told = _measured(one, one.of_passes(ready, samples.seconds), ready.pieces)
        told["control"] = _beside(samples.seconds, number)
        if ready.workload.device == "cpu":
            told["processor"] = one.of_passes(ready, samples.processor)
            told["control_processor"] = _beside(samples.processor, number)
        rows.append({**row, **told, "peak_bytes": peak})
    return rows


def _samples(
    ready: Ready, contenders: Mapping[str, Contender], settings: Settings, tell: Tell
) -> Samples:
    """Every contender once a round, with the control before and after each."""
    device = ready.workload.device
    stop = settings.stop()

    def on_round(rounds: int, seconds: float) -> None:
        left = max(0.0, stop.predicted_seconds(seconds / rounds) - seconds)
        tell(f"round {rounds}, {left:.0f} s left here")

    work = Timed(control.control_work(device))
    calls: dict[str, Timed] = {_control(0): work}
    for number, one in enumerate(contenders.values()):
        calls |= one.timed(ready, settings.shortest)
        calls[_control(number + 1)] = work
    tell("timing")
    return interleave(calls, stop, warm_up=0, synchronize=waits_for(device), on_round=on_round)


def _control(number: int) -> str:
    return f"{control.NAME} {number}"


def _beside(by_name: Mapping[str, list[float]], number: int) -> list[float]:
    """The control's samples around contender `number`, round by round: the mean of logarithms."""
    before, after = (by_name[_control(n)] for n in (number, number + 1))
    return [math.sqrt(one * other) for one, other in zip(before, after, strict=True)]


def _peak(ready: Ready, request: Request) -> int:
    with apply(ready.model, request):
        return peak_bytes(ready.call, ready.workload.device)


def _not_run(reasons: Sequence[str]) -> Row:
    return {"backend": None, "family": None, "seconds": None, "samples": [], "peak_bytes": None,
            "receipts": [], "status": "not run", "reasons": list(reasons)}  # fmt: skip


def _measured(one: Contender, seconds: list[float], pieces: Sequence[Piece]) -> Row:
    wrong = mismatches(one.request, one.receipts)
    return {
        "backend": _only(receipt.backend for receipt in one.receipts),
        "family": _only(receipt.family for receipt in one.receipts),
        "seconds": estimate(seconds)._asdict(),
        "samples": seconds,
        "layers": [piece.times for piece in pieces],
        "receipts": [receipt.to_json() for receipt in one.receipts],
        "status": "invalid" if wrong or not one.receipts else "valid",
        "reasons": wrong or ([] if one.receipts else ["no attention was seen to run"]),
    }


def _only(words: Iterable[str | None]) -> str:
    """The one word that all have, "unknown" where nothing was seen, else "mixed"."""
    found = {word or "unknown" for word in words}
    return found.pop() if len(found) == 1 else "mixed" if found else "unknown"
