"""A range of time for the work of a run, by the roofline of a machine (Williams et al. 2009).

No run is faster than its operators one after another, each at the peak of arithmetic or at the peak
of memory, whichever takes longer, with whatever fits in the last cache read from there: that is the
lower end. The upper end computes and moves one after the other, at a share of either peak that
ordinary PyTorch reaches, and pays for starting each operator.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnswitch.estimating.work import Step, Work
from attnswitch.hardware.cards import Card
from attnswitch.hardware.speeds import Speeds

# FlashAttention 1 reached 25 to 40 % of an A100's peak, FlashAttention 2 50 to 73 %, matrix
# products 80 to 90 % (Dao 2023, arXiv 2307.08691, section 1): the least of these.
COMPUTE_SHARE = 0.25
# Copies reach 80 to 90 % of the peak of memory, strided elementwise operators about half.
MEMORY_SHARE = 0.5
# From Python to a running kernel, or to a CPU's loop.
START_SECONDS = 10e-6


@dataclass(frozen=True)
class Roof:
    """A machine's peaks: FLOP/s by dtype, bytes a second, bytes of its last cache, and of whom."""

    flops: dict[str, float]
    bandwidth: float
    cache_bytes: int
    source: str

    def range_of(self, work: Work) -> tuple[float, float] | None:
        """(least, most) seconds; None where a dtype of the work has no peak."""
        if any(step.flops and not self._rates(step) for step in work.steps):
            return None
        least = sum(self._least(step) for step in work.steps)
        most = sum(self._most(step) for step in work.steps)
        return least, most

    def _least(self, step: Step) -> float:
        computing = step.least_flops / max(self._rates(step), default=1.0)
        moving = max(0, step.bytes - self.cache_bytes) / self.bandwidth
        return max(computing, moving)

    def _most(self, step: Step) -> float:
        computing = step.flops / (COMPUTE_SHARE * min(self._rates(step), default=1.0))
        return computing + step.most_bytes / (MEMORY_SHARE * self.bandwidth) + START_SECONDS

    def _rates(self, step: Step) -> list[float]:
        """Peaks at which the step may run; a CPU computes half precision in either way."""
        if not step.flops:
            return []
        own = [self.flops[step.dtype]] if step.dtype in self.flops else []
        if self.source == "measured" and "float32" in self.flops:
            return [*own, self.flops["float32"]]
        return own


def roof_of_card(card: Card) -> Roof:
    """The roof of a card, by its data sheet."""
    dtypes = ("float32", "float16", "bfloat16")
    peaks = {name: peak for name in dtypes if (peak := card.flops_per_second(name)) is not None}
    return Roof(peaks, card.bandwidth, card.cache_bytes, card.source)


def roof_of_speeds(speeds: Speeds, cache_bytes: int) -> Roof:
    """The roof of this machine, as it was timed."""
    return Roof(speeds.flops, speeds.bandwidth, cache_bytes, "measured")
