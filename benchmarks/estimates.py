"""Estimates against measurements on this machine: twelve configurations, forward and training.

python benchmarks/estimates.py              peak memory of attention calls and of cut-down models
python benchmarks/estimates.py --part seconds   whether the time lies in the range (a quiet machine)
python benchmarks/estimates.py --only demo  configurations whose name contains this

Widths, heads, tiles and lengths are those of the real models, layers are few: more of them only
repeat. Rows are kept as they are finished; the table is written under docs/measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from attnswitch.bench.timing import Stop, interleave
from attnswitch.estimating import steps
from attnswitch.estimating.attention_call import call_memory
from attnswitch.estimating.estimate import can_run_whole
from attnswitch.estimating.flops import attention_flops
from attnswitch.estimating.measuring import measured_call, measured_peaks
from attnswitch.estimating.scenario import Scenario, Training
from attnswitch.estimating.target import target
from attnswitch.estimating.whole_model import model_memory
from attnswitch.geometries.building import build_model, smaller
from attnswitch.geometries.find import geometry
from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.inputs import make_inputs
from attnswitch.geometries.samples import sample
from attnswitch.geometries.workloads import attention_workloads
from attnswitch.switch import use

BACKENDS = ("flash", "blockwise", "math", "eager")
LORA = Training("lora", checkpointing=True, lora_rank=64)
# Beyond so many the weights of the output layer would fill this machine.
MOST_WORDS = 32064


@dataclass(frozen=True)
class Configuration:
    """A geometry cut to `layers` (None: whole), what it sees, and how it is trained."""

    geometry: str
    shown: dict[str, Any] = field(default_factory=dict)
    layers: int | None = 1
    dtype: str = "float32"
    training: Training = LORA
    batch: int = 1

    @property
    def name(self) -> str:
        """Such as `llava-v1.6-34b, 3 tiles, 1 layer`."""
        seen = ", ".join(f"{count} {what}" for what, count in self.shown.items())
        layers = "whole" if self.layers is None else f"{self.layers} layer(s)"
        batch = f"batch {self.batch}" if self.batch > 1 else ""
        return ", ".join(part for part in (self.geometry, seen, layers, self.dtype, batch) if part)

    def cut(self) -> Geometry:
        """The geometry to run."""
        found = geometry(self.geometry)
        if self.layers is None:
            return found
        found = smaller(found, self.layers)
        words = min(MOST_WORDS, found.language.vocabulary)
        return replace(found, language=replace(found.language, vocabulary=words))

    def scenario(self, training: Training | None) -> Scenario:
        """Its scenario on this machine's CPU."""
        found = self.cut()
        shown = sample(found, **self.shown)
        return Scenario(found, shown, self.dtype, batch=self.batch, new_tokens=4, training=training)


ALL_TRAINED = Training("full", optimizer="adamw")
CONFIGURATIONS = (
    Configuration("demo", layers=None, training=ALL_TRAINED, batch=2),
    Configuration("demo", layers=None, dtype="bfloat16", training=Training()),
    Configuration("llava-1.5-7b", training=Training(optimizer="sgd")),
    Configuration("llava-1.5-13b"),
    Configuration("llava-v1.6-vicuna-7b", {"tiles": 3}),
    Configuration("llava-v1.6-mistral-7b", {"tiles": 3}, training=Training("projector")),
    Configuration("llava-v1.6-34b", {"tiles": 3}),
    Configuration("llava-onevision-0.5b", {"tiles": 3}, 3, training=ALL_TRAINED),
    Configuration("llava-onevision-7b", {"tiles": 2}, training=Training("lora", lora_rank=32)),
    Configuration("llava-next-video-7b", {"frames": 8}),
    Configuration("video-llava-7b", {"frames": 4}, training=Training("projector")),
    Configuration("llava-onevision-0.5b-video", {"frames": 8}, 2, training=Training()),
)


def main(arguments: list[str] | None = None) -> int:
    """Measure, save after each configuration, and write the table."""
    options = _parser().parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "estimate.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found |= {"schema": "attnswitch.estimates/1", "environment": _environment()}
    chosen = [c for c in CONFIGURATIONS if options.only in c.name]
    for part in options.part:
        for configuration in chosen:
            found.setdefault(part, {})[configuration.name] = _PARTS[part](configuration)
            print(part, configuration.name, _summary(found[part][configuration.name]), flush=True)
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            gc.collect()
    (options.output / "estimate.md").write_text(table(found), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="configurations whose name contains this")
    parser.add_argument("--part", nargs="+", choices=_PARTS, default=["calls", "models"])
    parser.add_argument("--output", type=Path, default=Path("docs/measured"))
    return parser


def calls(configuration: Configuration) -> list[dict[str, Any]]:
    """Every attention call of the geometry once, forward and with gradients."""
    found = geometry(configuration.geometry)
    shown = sample(found, **configuration.shown)
    rows = []
    for phase in ("training_step", "decode"):
        for group in attention_workloads(found, shown, phase=phase, batch=configuration.batch):
            for one in {replace(group, calls=1, backward=False), replace(group, calls=1)}:
                rows += [_call(found, one, name, configuration.dtype) for name in BACKENDS]
    return rows


def _call(found: Geometry, one: Any, backend: str, dtype: str) -> dict[str, Any]:
    expected = call_memory(found, one, backend, dtype)
    counted = expected.forward.flops + (expected.backward.flops if expected.backward else 0)
    return {
        "role": one.role, "phase": one.phase, "backward": one.backward, "backend": backend,
        "shape": [one.batch, one.heads, one.kv_heads, one.q_tokens, one.kv_tokens, one.head_dim],
        "estimated": expected.peak_bytes, "measured": measured_call(found, one, backend, dtype),
        "flops": counted, "flops_by_formula": attention_flops(one, backend).counted,
    }  # fmt: skip


def models(configuration: Configuration) -> list[dict[str, Any]]:
    """Every phase of inference and of a training step, what it allocates itself."""
    rows = []
    for training in (None, configuration.training):
        scenario = configuration.scenario(training)
        if not can_run_whole(scenario):
            continue
        for backend in BACKENDS:
            measured = measured_peaks(scenario, backend)
            for phase in model_memory(scenario, backend, with_work=False).phases:
                rows.append({
                    "phase": phase.phase, "backend": backend,
                    "trained": training.trained if training else None,
                    "tokens": scenario.sample.tokens, "tiles": scenario.sample.tiles,
                    "estimated": phase.dynamic_bytes, "measured": measured[phase.phase],
                })  # fmt: skip
            gc.collect()
    return rows


def seconds(configuration: Configuration) -> list[dict[str, Any]]:
    """The time of a prefill and the range that was foretold."""
    scenario = configuration.scenario(None)
    roof = target().roof(scenario.dtype)
    dtype = getattr(torch, scenario.dtype)
    model = build_model(scenario.geometry, dtype=scenario.dtype)
    inputs = make_inputs(scenario.geometry, scenario.sample, batch=scenario.batch, dtype=dtype)

    def under(backend: str) -> Any:
        def run() -> None:
            with use(backend):
                steps.prefill(model, inputs)

        return run

    names = [name for name in BACKENDS if name != "eager"]
    samples = interleave({name: under(name) for name in names}, Stop(3, 9, 20.0)).seconds
    rows = []
    for name in names:
        span = roof.range_of(model_memory(scenario, name).phases[0].work) if roof else None
        low, high = span if span is not None else (None, None)
        rows.append({
            "phase": "prefill", "backend": name, "low": low, "high": high,
            "measured": median(samples[name]), "samples": samples[name],
        })  # fmt: skip
    return rows


_PARTS = {"calls": calls, "models": models, "seconds": seconds}


def _ratio(row: dict[str, Any]) -> float:
    """Estimated over measured; a step of plain SGD allocates nothing."""
    if not row["measured"]:
        return 1.0 if not row["estimated"] else float("inf")
    return float(row["estimated"] / row["measured"])


def _summary(rows: list[dict[str, Any]]) -> str:
    if rows and "low" in rows[0]:
        inside = sum(row["low"] <= row["measured"] <= row["high"] for row in rows)
        return f"{inside} of {len(rows)} inside the range"
    ratios = [_ratio(row) for row in rows]
    return f"{min(ratios):.4f} to {max(ratios):.4f} of the measured, {len(rows)} rows"


def table(found: dict[str, Any]) -> str:
    """The measured rows as Markdown: the least and most of estimated over measured."""
    environment = found["environment"]
    lines = [
        "# Estimates against measurements", "",
        "Written by `python benchmarks/estimates.py`; every row is in `estimate.json`. Estimated "
        "over measured peak memory, the least and the most of all rows. "
        f"torch {environment['torch']}, transformers {environment['transformers']}, "
        f"{environment['threads']} threads.", "",
    ]  # fmt: skip
    for part, heading in (
        ("calls", "Attention calls (query, key and value not counted)"),
        ("models", "Whole models (what each phase allocates; weights and inputs not counted)"),
    ):
        if part not in found:
            continue
        lines += [f"## {heading}", "", "| configuration | kind | " + " | ".join(BACKENDS) + " |",
                  "|" + " --- |" * (2 + len(BACKENDS))]  # fmt: skip
        for name, rows in found[part].items():
            for kind, members in _kinds(part, rows).items():
                cells = [_span([r for r in members if r["backend"] == b]) for b in BACKENDS]
                lines.append(f"| {name} | {kind} | " + " | ".join(cells) + " |")
        lines.append("")
    if "calls" in found:
        every = [row for rows in found["calls"].values() for row in rows]
        same = sum(row["flops"] == row["flops_by_formula"] for row in every)
        lines += [f"FLOPs by formula equal PyTorch's count in {same} of {len(every)} calls.", ""]
    if "seconds" in found:
        heads = "| configuration | backend | low | measured | high |"
        lines += ["## Prefill: seconds, and the range foretold", "", heads, "|" + " --- |" * 5]
        for name, rows in found["seconds"].items():
            for row in rows:
                spans = (f"{row[key]:.3f}" for key in ("low", "measured", "high"))
                lines.append(f"| {name} | {row['backend']} | " + " | ".join(spans) + " |")
        lines.append("")
    return "\n".join(lines)


def _kinds(part: str, rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if part == "calls":
            kind = "forward and backward" if row["backward"] else "forward"
        else:
            kind = row["phase"] + (f" ({row['trained']})" if row["trained"] else "")
        kinds.setdefault(kind, []).append(row)
    return kinds


def _span(rows: list[dict[str, Any]]) -> str:
    ratios = [_ratio(row) for row in rows]
    low, high = f"{min(ratios):.3f}", f"{max(ratios):.3f}"
    return low if low == high else f"{low}–{high}"


def _environment() -> dict[str, Any]:
    import transformers

    return {
        "torch": torch.__version__, "transformers": transformers.__version__,
        "threads": torch.get_num_threads(), "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(), "python": platform.python_version(),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
