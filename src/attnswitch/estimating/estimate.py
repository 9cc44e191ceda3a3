"""The estimate of a scenario on a machine: one record of everything that is foretold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from attnswitch.backends.catalogue import family_of
from attnswitch.errors import InputError, did_you_mean
from attnswitch.estimating.attention_call import CallMemory, call_memory
from attnswitch.estimating.flops import attention_flops, forward_flops
from attnswitch.estimating.limits import Limit, largest_batch, longest_sequence, peaks_by_length
from attnswitch.estimating.roofline import Roof
from attnswitch.estimating.routing import BACKENDS
from attnswitch.estimating.scenario import Scenario
from attnswitch.estimating.target import Target
from attnswitch.estimating.whole_model import PhasePeak, model_memory
from attnswitch.geometries.building import plain
from attnswitch.geometries.workloads import AttentionWorkload, attention_workloads

SCHEMA = "attnswitch.estimate/1"
Progress = Callable[[str], None]


def _quiet(message: str) -> None:
    pass


@dataclass(frozen=True)
class Asked:
    """What an estimate is to contain: backends by name (None: all that can run), the whole model
    or attention alone, the largest sizes that fit, times, and peaks over lengths for a picture."""

    backends: Sequence[str] | None = None
    whole_model: bool = True
    limits: bool = True
    seconds: bool = True
    curves: bool = False


def estimate(
    scenario: Scenario, where: Target, asked: Asked | None = None, progress: Progress = _quiet
) -> dict[str, Any]:
    """Foretell a scenario; returns the record `attnswitch.estimate/1`.

    Nothing is run but on the meta device, except that this machine's speed is taken for a moment
    where the estimate is for it and `asked.seconds`.

    Raises:
        InputError: no such backend.
        MissingExtraError: transformers is not installed.
    """
    asked = asked or Asked()
    geometry = scenario.geometry
    widths = (geometry.vision.head_dim, geometry.language.head_dim)
    refusals = where.refusals(scenario.dtype, widths)
    names = _backends(asked.backends, refusals)
    roof = None
    if asked.seconds:
        if where.here:
            progress("taking this machine's speed")
        roof = where.roof(scenario.dtype)
    groups = [g for phase in _phases(scenario) for g in _groups(scenario, phase)]
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "geometry": plain(geometry),
        "sample": {**asdict(scenario.sample), "tokens": scenario.sample.tokens},
        "scenario": _plain_scenario(scenario),
        "machine": where.to_json(),
        "roof": asdict(roof) if roof is not None else None,
        "attention": [_attention(scenario, group, names, roof) for group in groups],
        "forward_flops": _forward_flops(scenario),
        "model": [],
        "limits": [],
        "curves": [],
        "refused": [{"backend": name, "reasons": why} for name, why in refusals.items() if why],
        "notes": _notes(scenario),
    }
    if asked.whole_model and can_run_whole(scenario):
        for name in names:
            progress(f"the whole model under {name}")
            record["model"].append(_model(scenario, name, where, roof))
        if asked.limits and where.memory_bytes:
            record["limits"] = _limits(scenario, names, where, progress)
        if asked.curves:
            record["curves"] = [_curve(scenario, name, progress) for name in names]
    return record


def _backends(asked: Sequence[str] | None, refusals: dict[str, list[str]]) -> list[str]:
    if asked is None:
        return [name for name in BACKENDS if not refusals[name]]
    for name in asked:
        if name not in BACKENDS:
            hint = did_you_mean(name, BACKENDS)
            raise InputError(f"no estimate for {name!r}{hint}; there are {', '.join(BACKENDS)}")
        if refusals[name]:
            raise InputError(f"{name} cannot run there: {'; '.join(refusals[name])}")
    return list(dict.fromkeys(asked))


def _phases(scenario: Scenario) -> tuple[str, ...]:
    if scenario.training is not None:
        return ("training_step",)
    return ("vision", "prefill", "decode") if scenario.new_tokens else ("vision", "prefill")


def _groups(scenario: Scenario, phase: str) -> tuple[AttentionWorkload, ...]:
    return attention_workloads(
        scenario.geometry, scenario.sample, phase=phase, batch=scenario.batch
    )


def _plain_scenario(scenario: Scenario) -> dict[str, Any]:
    training = asdict(scenario.training) if scenario.training is not None else None
    return {
        "dtype": scenario.dtype, "device": scenario.device, "batch": scenario.batch,
        "new_tokens": scenario.new_tokens if training is None else 0, "training": training,
    }  # fmt: skip


def _attention(
    scenario: Scenario, group: AttentionWorkload, names: list[str], roof: Roof | None
) -> dict[str, Any]:
    backends = {}
    for name in names:
        call = call_memory(scenario.geometry, group, name, scenario.dtype, scenario.device)
        flops = attention_flops(group, name)
        backends[name] = {
            "flops": {"counted": flops.counted, "needed": flops.needed},
            "bytes_moved": group.calls * (call.forward.bytes + _backward(call, "bytes")),
            "peak_bytes": call.peak_bytes,
            "kept_bytes": call.kept_bytes * group.calls if group.backward else 0,
            "parts": call.parts,
            "seconds": _seconds_of_calls(call, group.calls, roof),
        }
    return {**asdict(group), "backends": backends}


def _backward(call: CallMemory, what: str) -> int:
    return getattr(call.backward, what) if call.backward is not None else 0


def _seconds_of_calls(call: CallMemory, calls: int, roof: Roof | None) -> dict[str, float] | None:
    if roof is None:
        return None
    works = [call.forward, *([call.backward] if call.backward is not None else [])]
    spans = [span for work in works if (span := roof.range_of(work)) is not None]
    if len(spans) < len(works):
        return None
    return {
        "low": calls * sum(low for low, _ in spans), "high": calls * sum(high for _, high in spans)
    }  # fmt: skip


def _forward_flops(scenario: Scenario) -> dict[str, dict[str, int]]:
    logits = 1 if scenario.training is None else scenario.sample.tokens
    found = forward_flops(scenario.geometry, scenario.sample, batch=scenario.batch, logits=logits)
    return {name: asdict(flops) for name, flops in found.items()}


def _model(scenario: Scenario, name: str, where: Target, roof: Roof | None) -> dict[str, Any]:
    memory = model_memory(scenario, name)
    peak = memory.peak
    return {
        "backend": name, "family": family_of(name), "peak_bytes": peak.bytes,
        "kv_cache_bytes": memory.kv_cache_bytes,
        "phases": [_phase(phase, roof) for phase in memory.phases],
        "fits": [_fits(peak.bytes, size, where.reserve_bytes) for size in where.memory_bytes],
    }  # fmt: skip


def _phase(phase: PhasePeak, roof: Roof | None) -> dict[str, Any]:
    span = roof.range_of(phase.work) if roof is not None else None
    return {
        "phase": phase.phase, "peak_bytes": phase.bytes, "dynamic_bytes": phase.dynamic_bytes,
        "parts": phase.parts, "flops": phase.work.flops, "bytes_moved": phase.work.bytes,
        "seconds": {"low": span[0], "high": span[1]} if span is not None else None,
    }  # fmt: skip


def _fits(peak: int, memory: int, reserve: int) -> dict[str, Any]:
    """`yes` with the reserve left, `tight` without it, `no` not even so."""
    answer = "yes" if peak + reserve <= memory else "tight" if peak <= memory else "no"
    return {"memory_bytes": memory, "answer": answer, "spare_bytes": memory - peak}


def _limits(
    scenario: Scenario, names: list[str], where: Target, progress: Progress
) -> list[dict[str, Any]]:
    found = []
    for size in where.memory_bytes:
        usable = size - where.reserve_bytes
        for name in names:
            progress(f"the most that fits under {name}")
            length = longest_sequence(scenario, name, usable)
            batch = largest_batch(scenario, name, usable)
            found.append({"memory_bytes": size, "backend": name, "longest_tokens": _limit(length),
                          "largest_batch": _limit(batch)})  # fmt: skip
    return found


def _curve(scenario: Scenario, name: str, progress: Progress) -> dict[str, Any]:
    progress(f"peak memory over lengths under {name}")
    points = peaks_by_length(scenario, name)
    return {
        "backend": name,
        "points": [{"tokens": tokens, "peak_bytes": peak} for tokens, peak in points],
    }


def _limit(limit: Limit) -> dict[str, int | None]:
    return {"fits": limit.fits, "fails": limit.fails}


def can_run_whole(scenario: Scenario) -> bool:
    """Whether the whole model runs on the meta device: not where it computes with the numbers in
    its inputs, as those do that take pictures of any size."""
    return scenario.geometry.image.kind != "native"


def _notes(scenario: Scenario) -> list[str]:
    notes = []
    geometry, tokens = scenario.geometry, scenario.sample.tokens
    if not can_run_whole(scenario):
        notes.append(
            f"of {geometry.name} attention alone is foretold: the model computes with its "
            "pictures' sizes, which the meta device has none of"
        )
    if scenario.training is None:
        tokens += scenario.new_tokens
    if tokens > geometry.language.context:
        notes.append(
            f"{tokens:,} tokens are more than the {geometry.language.context:,} that "
            f"{geometry.name} is published for"
        )
    if geometry.note:
        notes.append(f"{geometry.name}: {geometry.note}")
    return notes
