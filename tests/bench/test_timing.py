"""Interleaved sampling, with a clock that the test turns itself: nothing here depends on speed."""

from __future__ import annotations

from attnswitch.bench.timing import Stop, interleave


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_callables_take_turns_and_each_keeps_its_own_time() -> None:
    clock, order = Clock(), []

    def call(name: str, seconds: float) -> object:
        def run() -> None:
            order.append(name)
            clock.now += seconds

        return run

    calls = {"a": call("a", 1.0), "b": call("b", 3.0)}
    samples = interleave(calls, Stop(least=1, most=3), warm_up=1, clock=clock)
    assert order == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert samples.seconds == {"a": [1.0] * 3, "b": [3.0] * 3}
    assert samples.rounds == 3


def test_stops_by_time_once_there_are_enough_rounds() -> None:
    clock = Clock()

    def run() -> None:
        clock.now += 4.0

    samples = interleave({"a": run}, Stop(least=2, most=100, seconds=10.0), clock=clock)
    assert samples.rounds == 3
    samples = interleave({"a": run}, Stop(least=5, most=100, seconds=10.0), clock=clock)
    assert samples.rounds == 5


def test_the_device_is_waited_for_before_and_after_each_run() -> None:
    events: list[str] = []
    interleave(
        {"a": lambda: events.append("run")},
        Stop(1, 1), warm_up=0, synchronize=lambda: events.append("wait"),
    )  # fmt: skip
    assert events == ["wait", "run", "wait"]
