"""The watched program once more, with a trace of its own inside the process's receipts."""

from __future__ import annotations

import runpy
from pathlib import Path

from transformers import LlavaForConditionalGeneration

import attnswitch

traces: list[attnswitch.trace] = []
generate = LlavaForConditionalGeneration.generate


def traced(model, **options):
    with attnswitch.trace(model) as trace:
        traces.append(trace)
        return generate(model, **options)


LlavaForConditionalGeneration.generate = traced
runpy.run_path(str(Path(__file__).with_name("watched_program.py")))
for receipt in traces[0].receipts:
    line = (receipt.site, receipt.role, receipt.phase, receipt.backend, receipt.calls)
    print(*line, sep="|")
