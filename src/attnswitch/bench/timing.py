"""Time callables against each other, A B A B … in one process: what slows one slows both."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

Call = Callable[[], object]


@dataclass(frozen=True)
class Timed:
    """What a sample times: `calls` calls in a row, inside `around`, which is entered untimed.

    `warm` calls go before them, untimed too: what `around` makes anew (a switch's plans, caches of
    dispatch) is part of the first call after it, and of no other.
    """

    call: Call
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    calls: int = 1
    warm: int = 0


@dataclass
class Samples:
    """Raw seconds a call by name, one list each, all of the same length: index i is one round.

    `seconds` are the clock's; `processor` those of all processors that worked for this process: on
    a machine that others use too, what a call costs shows there when the clock tells of waiting.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How many complete rounds were taken."""
        return min((len(times) for times in self.seconds.values()), default=0)


@dataclass(frozen=True)
class Stop:
    """When to stop: after ``most`` rounds, or after ``seconds`` once ``least`` rounds are there."""

    least: int = 5
    most: int = 30
    seconds: float = 20.0

    def reached(self, rounds: int, elapsed: float) -> bool:
        """Whether sampling is over."""
        return rounds >= self.most or (rounds >= self.least and elapsed >= self.seconds)

    def predicted_seconds(self, seconds_a_round: float) -> float:
        """How long sampling will take where a round takes so long."""
        by_time = self.seconds + seconds_a_round / 2
        return min(self.most * seconds_a_round, max(self.least * seconds_a_round, by_time))


def waits_for(device: str) -> Callable[[], object]:
    """What waits until a device has done all that it was given; a CPU has by then."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)


def interleave(
    callables: Mapping[str, Call | Timed],
    stop: Stop | None = None,
    warm_up: int = 1,
    synchronize: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[int, float], object] = lambda rounds, seconds: None,
) -> Samples:
    """Run every callable once a round, in turn, and keep each run's seconds.

    The order is reversed every other round, so that no callable always follows the same one.
    ``synchronize`` is called before the clock is read (a device's queue has to drain). The garbage
    collector is off while a callable runs. ``on_round`` is told the number of rounds that are done
    and the seconds that they took.
    """
    stop = stop or Stop()
    wait = synchronize or (lambda: None)
    timed = {name: c if isinstance(c, Timed) else Timed(c) for name, c in callables.items()}
    for _ in range(warm_up):
        for one in timed.values():
            with one.around():
                one.call()
    samples = Samples({name: [] for name in timed}, {name: [] for name in timed})
    begin, rounds = clock(), 0
    names = list(timed)
    while not stop.reached(rounds, clock() - begin):
        for name in names if rounds % 2 == 0 else reversed(names):
            seconds, processor = _time_once(timed[name], wait, clock)
            samples.seconds[name].append(seconds)
            samples.processor[name].append(processor)
        rounds += 1
        on_round(rounds, clock() - begin)
    return samples


def _time_once(
    one: Timed, wait: Callable[[], object], clock: Callable[[], float]
) -> tuple[float, float]:
    with one.around():
        for _ in range(one.warm):
            one.call()
        enabled = gc.isenabled()
        gc.disable()
        try:
            wait()
            start, worked = clock(), time.process_time()
            for _ in range(one.calls):
                result = one.call()
            wait()
            seconds, processor = clock() - start, time.process_time() - worked
            del result
            return seconds / one.calls, processor / one.calls
        finally:
            if enabled:
                gc.enable()
