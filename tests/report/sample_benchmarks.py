"""Benchmark records for the tests of reports: a realistic one, and one that means harm."""

from __future__ import annotations

import math
import random
from typing import Any

BACKENDS = {"flash": ("flash", "flash"), "standard": ("blockwise", "standard"),
            "eager": ("eager", "standard")}  # fmt: skip
OPERATORS = {"flash": "aten::_scaled_dot_product_flash_attention_for_cpu",
             "blockwise": "attnswitch::blockwise", "eager": "aten::bmm"}  # fmt: skip
LENGTHS = (256, 512, 1024, 2048, 4096)


def benchmark(
    subjects: tuple[str, ...] = ("llava-1.5-7b",), phases: tuple[str, ...] = ("prefill", "decode")
) -> dict[str, Any]:
    """flash, standard and eager over five lengths; standard crosses flash at about 1,000 tokens.

    eager does not fit at the longest length.
    """
    chance = random.Random(3)
    rows: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    for subject in subjects:
        for phase in phases:
            for tokens in LENGTHS:
                _cell(rows, ratios, subject, phase, tokens, chance)
    run = {"id": "20260101T000000-00000000", "started": "2026-01-01T00:00:00+00:00",
           "command": "bench", "label": "sample", "machine": "m", "settings": {"rounds": 10},
           "environment": {}, "project": {}}  # fmt: skip
    return {
        "schema": "attnswitch.benchmark/1",
        "environment": {"processor": "made up", "threads": 2, "packages": {"torch": "2.13.0"}},
        "project": {"path": "/project", "commit": "a" * 40, "dirty": True},
        "runs": [run],
        "rows": rows,
        "ratios": ratios,
    }


def _cell(
    rows: list[dict[str, Any]], ratios: list[dict[str, Any]], subject: str, phase: str,
    tokens: int, chance: random.Random,
) -> None:  # fmt: skip
    cell = f"c{len(rows)}"
    factors = {"flash": 1.0, "standard": 0.7 * (tokens / 256) ** 0.26, "eager": 3.0}
    workload = {"subject": subject, "kind": "geometry", "part": "attention", "phase": phase,
                "tokens": tokens, "batch": 1, "dtype": "bfloat16", "device": "cpu", "views": 0,
                "image_tokens": 0, "size": {"images": 0, "text_tokens": tokens}}  # fmt: skip
    for request, factor in factors.items():
        row: dict[str, Any] = {"run": "20260101T000000-00000000", "position": len(rows),
                               "workload": workload, "request": request, "cell": cell,
                               "tokens": tokens}  # fmt: skip
        if request == "eager" and tokens == LENGTHS[-1]:
            rows.append(row | {"backend": None, "family": None, "seconds": None, "samples": [],
                               "peak_bytes": None, "receipts": [], "status": "not run",
                               "reasons": ["does not fit into memory"]})  # fmt: skip
            continue
        seconds = 1e-6 * tokens * factor
        samples = [seconds * math.exp(chance.gauss(0, 0.01)) for _ in range(10)]
        rows.append(row | _measured(request, phase, sorted(samples), tokens))
        if request != "flash":
            ratios.append({
                "run": row["run"], "cell": cell, "workload": workload, "tokens": tokens,
                "candidate": request, "baseline": "flash", "ranked": True, "because": "",
                "seconds": {"median": factor, "low": factor * 0.98, "high": factor * 1.02},
                "peak_bytes": 1.0 if request == "standard" else tokens / 200,
            })  # fmt: skip


def _measured(request: str, phase: str, samples: list[float], tokens: int) -> dict[str, Any]:
    backend, family = BACKENDS[request]
    receipt = {"site": "language_model.0.self_attn", "role": "language_model", "phase": phase,
               "requested": request, "planned": backend, "backend": backend, "family": family,
               "executed": [OPERATORS[backend]], "evidence": "op", "calls": 1,
               "process": 1}  # fmt: skip
    return {
        "backend": backend, "family": family, "samples": samples, "control": samples,
        "seconds": {"median": samples[5], "low": samples[1], "high": samples[8]},
        "peak_bytes": tokens * 8000 * (1 if request != "eager" else tokens // 200),
        "resident_bytes": tokens * 8100, "receipts": [receipt], "status": "valid", "reasons": [],
    }  # fmt: skip


def with_text(record: dict[str, Any], text: str) -> dict[str, Any]:
    """The record with `text` wherever a text can stand, but for the schema's own words."""
    kept = {"schema", "run", "cell", "id"}

    def change(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: change(v, k) for k, v in value.items()} | (
                {text: text} if key in ("environment", "settings", "project", "packages") else {}
            )
        if isinstance(value, list):
            return [change(item, key) for item in value]
        return text if isinstance(value, str) and key not in kept else value

    return change(record)
