"""Time callables against each other, A B A B … in one process: what slows one slows both."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Sample = Callable[[], object]


@dataclass
class Samples:
    """Raw seconds by name, one list a callable, all of the same length: index i is one round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

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


def interleave(
    callables: Mapping[str, Sample],
    stop: Stop | None = None,
    warm_up: int = 1,
    synchronize: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Run every callable once a round, in turn, and keep each run's seconds.

    The order is reversed every other round, so that no callable always follows the same one.
    ``synchronize`` is called before the clock is read (a device's queue has to drain). The garbage
    collector is off while a callable runs.
    """
    stop = stop or Stop()
    wait = synchronize or (lambda: None)
    for _ in range(warm_up):
        for call in callables.values():
            call()
    samples = Samples({name: [] for name in callables})
    begin, rounds = clock(), 0
    names = list(callables)
    while not stop.reached(rounds, clock() - begin):
        for name in names if rounds % 2 == 0 else reversed(names):
            samples.seconds[name].append(_time_once(callables[name], wait, clock))
        rounds += 1
    return samples


def _time_once(call: Sample, wait: Callable[[], object], clock: Callable[[], float]) -> float:
    enabled = gc.isenabled()
    gc.disable()
    try:
        wait()
        start = clock()
        result = call()
        wait()
        seconds = clock() - start
        del result
        return seconds
    finally:
        if enabled:
            gc.enable()
