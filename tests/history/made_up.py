"""Runs and rows as a noisy, shared machine gives them, from seeded random numbers."""

from __future__ import annotations

import math
import random
from typing import Any

from attnswitch.record.entries import Row, Run

ENVIRONMENT = {"system": "Linux", "processor": "made up", "cores": 2, "threads": 2, "code": "aaaa",
               "packages": {"torch": "2.13.0"}}  # fmt: skip
SECONDS = {"flash": 0.010, "standard": 0.012, "eager": 0.030}


class Machine:
    """A machine whose speed wanders from run to run, with neighbours that disturb single samples.

    A run has its own speed (10 %), its own memory layout for each request (1 %), and samples with
    2 % of noise, one in ten of them disturbed by up to a half.
    """

    def __init__(self, seed: int):
        self._chance = random.Random(seed)
        self._number = 0

    def run(
        self, slower: dict[str, float] | None = None, **environment: Any
    ) -> tuple[Run, list[Row]]:
        chance = self._chance
        self._number += 1
        run = Run(
            id=f"20260101T{self._number:06d}-{chance.getrandbits(32):08x}",
            started=f"2026-01-01T00:{self._number // 60 % 60:02d}:{self._number % 60:02d}+00:00",
            command="bench", machine="m", settings={"rounds": 10},
            environment={**ENVIRONMENT, **environment},
            project={"commit": "c" * 40, "dirty": False},
        )  # fmt: skip
        speed = math.exp(chance.gauss(0, 0.10))
        control = [self._sample(0.005 * speed) for _ in range(10)]
        rows = []
        for position, (request, seconds) in enumerate(SECONDS.items()):
            layout = math.exp(chance.gauss(0, 0.01))
            factor = speed * layout * (slower or {}).get(request, 1.0)
            samples = [self._sample(seconds * factor) for _ in range(10)]
            rows.append(Row(run.id, position, {
                "workload": {"subject": "demo", "phase": "prefill", "tokens": 64, "batch": 1,
                             "dtype": "float32", "part": "attention"},
                "request": request, "cell": "c0", "status": "valid", "samples": samples,
                "control": control, "tokens": 64, "processor": [2 * s for s in samples],
                "control_processor": [2 * s for s in control],
                "seconds": {"low": min(samples), "median": sorted(samples)[5],
                            "high": max(samples)},
                "backend": request, "peak_bytes": 1000,
                "receipts": [{"role": "language_model", "phase": "prefill", "backend": request,
                              "executed": [request], "calls": 1}],
            }))  # fmt: skip
        return run, rows

    def _sample(self, seconds: float) -> float:
        disturbed = 1 + self._chance.random() / 2 if self._chance.random() < 0.1 else 1.0
        return seconds * math.exp(self._chance.gauss(0, 0.02)) * disturbed

    def runs(self, count: int, **more: Any) -> tuple[list[Run], list[Row]]:
        found = [self.run(**more) for _ in range(count)]
        return [run for run, _ in found], [row for _, rows in found for row in rows]
