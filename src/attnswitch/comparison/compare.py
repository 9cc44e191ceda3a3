"""`compare`: the whole of a comparison, as one record (`attnswitch.comparison/1`)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from attnswitch import environment
from attnswitch.bench.statistics import ratio
from attnswitch.comparison.judging import Verdict, judge_runs
from attnswitch.comparison.runs import Run, measure_memory, timed_rounds, watched_run
from attnswitch.models.describing import as_data_uris, describe_model, tokenizer_of
from attnswitch.models.inputs import padded_batch, prepare_inputs
from attnswitch.models.load import LoadedModel
from attnswitch.switch import RequestLike, as_request
from attnswitch.verification.where_possible import said_of

SCHEMA = "attnswitch.comparison/1"
Progress = Callable[[str], None]


def compare(
    loaded: LoadedModel,
    images: Sequence[Any],
    prompt: str,
    *,
    baseline: RequestLike = "flash",
    candidate: RequestLike = "standard",
    max_new_tokens: int = 40,
    rounds: int = 3,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Let a model answer under two requests and judge whether the outputs agree.

    Args:
        loaded: from `attnswitch.models.load.load_model`.
        images: pictures for the prompt: paths or PIL images.
        prompt: the user's words; the model's chat template is applied.
        baseline, candidate: requests; the first is what the second is compared with.
        max_new_tokens: at most so many tokens of answer, greedy.
        rounds: timing samples of each, taken in turn.
        progress: called with what is being done.

    Returns:
        The record; `record["verdict"]["agrees"]` is the answer.

    Raises:
        InputError, UnavailableError: something asked for cannot be used or met.
    """
    model = loaded.model
    requests = [as_request(baseline, "--baseline"), as_request(candidate, "--candidate")]
    inputs = prepare_inputs(loaded, images, prompt, max_new_tokens=max_new_tokens)
    runs = []
    for request in requests:
        progress(f"answering under {request.word}")
        runs.append(watched_run(model, request, inputs, max_new_tokens))
    timed_rounds(model, runs, inputs, max_new_tokens, rounds,
                 lambda n: progress(f"timing round {n + 1} of {rounds}"))  # fmt: skip
    for run in runs:
        progress(f"measuring memory under {run.request.word}")
        measure_memory(model, run, inputs)
    padded = padded_batch(loaded, images, prompt)
    verdict = judge_runs(model, runs[0], runs[1], inputs, padded, progress)
    return _record(loaded, images, prompt, runs, verdict, max_new_tokens, rounds)


def _record(
    loaded: LoadedModel,
    images: Sequence[Any],
    prompt: str,
    runs: Sequence[Run],
    verdict: Verdict,
    max_new_tokens: int,
    rounds: int,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model": describe_model(loaded),
        "prompt": prompt,
        "images": as_data_uris(images),
        "settings": {"max_new_tokens": max_new_tokens, "rounds": rounds, "greedy": True},
        "environment": environment.describe(),
        "runs": [_run_json(loaded, run) for run in runs],
        "ratios": _ratios(*runs),
        "verdict": _verdict_json(runs, verdict),
    }


def _run_json(loaded: LoadedModel, run: Run) -> dict[str, Any]:
    tokenizer = tokenizer_of(loaded)
    return {
        "request": run.request.word,
        "source": run.request.source,
        "answer": tokenizer.decode(run.tokens, skip_special_tokens=True).strip(),
        "tokens": run.tokens,
        "token_texts": [tokenizer.decode([token]) for token in run.tokens],
        "receipts": [receipt.to_json() for receipt in run.receipts],
        "mismatches": run.mismatches(),
        "seconds": {
            "prefill": _median(run.prefill),
            "decode_per_token": _median(run.decode_per_token),
        },
        "samples": {"prefill": run.prefill, "decode_per_token": run.decode_per_token},
        "peak_bytes": run.peak_bytes,
    }


def _median(samples: Sequence[float]) -> float | None:
    return statistics.median(samples) if samples else None


def _ratios(baseline: Run, candidate: Run) -> dict[str, Any]:
    """Candidate over baseline: the median of the ratios round by round, with an interval."""
    ratios: dict[str, Any] = {}
    for what in ("prefill", "decode_per_token"):
        ours, theirs = getattr(candidate, what), getattr(baseline, what)
        ratios[what] = ratio(ours, theirs)._asdict() if ours and theirs else None
    peaks = candidate.peak_bytes, baseline.peak_bytes
    both = ratio([peaks[0]], [peaks[1]]) if peaks[0] and peaks[1] else None
    ratios["peak_bytes"] = both and both._asdict()
    return ratios


def _verdict_json(runs: Sequence[Run], verdict: Verdict) -> dict[str, Any]:
    wrong = [m for run in runs for m in run.mismatches()]
    return {
        "agrees": verdict.agrees and not wrong,
        "explanation": explain(runs, verdict, wrong),
        "first_difference": verdict.difference.to_json() if verdict.difference else None,
        "whole_model_precise": verdict.whole_model_precise,
        "checks": [check.to_json() for check in verdict.checks],
        "sites": [error.to_json() for error in verdict.sites],
        "not_judged": verdict.not_judged,
    }


def explain(runs: Sequence[Run], verdict: Verdict, wrong: Sequence[str]) -> str:
    """The verdict in a sentence or two, for people."""
    names = f"{runs[0].request.word} and {runs[1].request.word}"
    if wrong:
        return f"The runs are not what was asked for: {wrong[0]}."
    failures = verdict.failures()
    if failures:
        more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        return (
            f"{names} do not agree: the error of {failures[0]} is more than twice that of "
            f"standard attention with fp32 scores, measured against float64{more}."
        )
    flip = verdict.difference
    if flip is not None and not flip.near_tie:
        return (
            f"{names} do not agree: token {flip.position + 1} differs although its margin, "
            f"{abs(flip.margin):.3g}, exceeds the allowed error of the logits, {flip.allowed:.3g}."
        )
    own = verdict.not_judged
    where = "at every site" if not own else f"at {len({e.site for e in verdict.sites})} sites"
    text = (
        f"{names} agree: {where} and in the logits, each is within twice the error of "
        "standard attention with fp32 scores, measured against float64."
    )
    text += said_of(own)
    if not verdict.whole_model_precise:
        text += " The model casts inside, so in the reference attention alone is exact."
    if flip is not None:
        text += f" Token {flip.position + 1} differs by a near tie."
    return text
