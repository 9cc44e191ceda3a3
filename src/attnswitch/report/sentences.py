"""What a comparison found, in sentences; the same ones in the terminal and on the page."""

from __future__ import annotations

from typing import Any

from attnswitch.report.flash_status import flash_status
from attnswitch.report.quantities import (
    count_text,
    error_text,
    interval_text,
    is_number,
    ratio_text,
    significant,
)
from attnswitch.report.safe_text import one_line

Record = dict[str, Any]

COSTS = {
    "prefill": ("Prefill", "slower", "faster"),
    "decode_per_token": ("Per decoded token", "slower", "faster"),
    "peak_bytes": ("Peak memory", "more memory", "less memory"),
}


def name_of(run: Record) -> str:
    """What was requested of a run, short enough for a heading."""
    return one_line(run.get("request") or "(no request)", 32)


def agrees(record: Record) -> bool | None:
    """The verdict; None where the record holds none."""
    return (record.get("verdict") or {}).get("agrees")


def flash_sentence(record: Record) -> str:
    """Where it is on and where off: `FlashAttention is on in the flash run and off in the …`."""
    states = [(name_of(run), _state_words(run)) for run in record["runs"]]
    if len({state for _, state in states}) == 1:
        return f"FlashAttention is {states[0][1]} in {_all_runs(states)}"
    listed = [f"{state} in the {name} run" for name, state in states]
    return f"FlashAttention is {', '.join(listed[:-1])} and {listed[-1]}"


def _all_runs(states: list[tuple[str, str]]) -> str:
    if len(states) == 1:
        return f"the {states[0][0]} run"
    return "both runs" if len(states) == 2 else "every run"


def _state_words(run: Record) -> str:
    state = flash_status(run.get("receipts") or []).state
    return "not proven off" if state == "not known" else state


def headline(record: Record) -> str:
    """The whole finding in one sentence."""
    verdict = {True: "the outputs agree", False: "the outputs do not agree"}
    said = verdict.get(agrees(record), "the outputs were not judged")  # type: ignore[arg-type]
    return f"{flash_sentence(record)}; {said}."


def tokens_sentence(record: Record) -> str:
    """Whether the tokens are the same, or where they first differ and whether that counts."""
    first = (record.get("verdict") or {}).get("first_difference")
    lengths = {len(run.get("tokens") or []) for run in record["runs"]}
    if not first:
        same = len({tuple(run.get("tokens") or ()) for run in record["runs"]}) == 1
        if not same:
            return "The tokens differ; where was not recorded."
        count = max(lengths)
        return f"The same, all {count_text(count, 'token')}." if count else "None were generated."
    return _difference_sentence(first)


def _difference_sentence(first: Record) -> str:
    one, other = (_quoted(first.get(f"{run}_token")) for run in ("baseline", "candidate"))
    margin: Any = first.get("margin")
    allowed: Any = first.get("allowed")
    said = f"First difference at token {first.get('position')}: {one} became {other}."
    if not is_number(margin) or not is_number(allowed):
        return said
    numbers = f"a margin of {significant(margin, 2)}, with {significant(allowed, 2)} allowed"
    if first.get("near_tie"):
        return f"{said} A near tie ({numbers}): it does not count against agreement."
    return f"{said} A flip ({numbers}): it counts against agreement."


def _quoted(token: Any) -> str:
    if isinstance(token, dict):
        token = token.get("text", token.get("id"))
    if token is None:
        return "the end"
    return f"“{one_line(token, 40)}”" if isinstance(token, str) else f"token id {token}"


def ratio_words(kind: str, ratio: Record | None) -> str:
    """A cost ratio in words, such as `18 % slower`; never a ranking where the interval holds 1."""
    if not ratio or not is_number(ratio.get("median")):
        return "no ratio"
    _, more, less = COSTS[kind]
    low, median, high = ratio_parts(ratio)
    if not interval_text(low, high):
        return "no interval: not ranked"
    if low <= 1 <= high:
        return "the same" if low == high else "no difference beyond the noise"
    if median >= 2:
        return f"{significant(median, 2)} times as {'much' if kind == 'peak_bytes' else 'long'}"
    share = abs(median - 1) * 100
    percent = f"{significant(share, 2)} %" if share >= 1 else "under 1 %"
    return f"{percent} {more if median > 1 else less}"


def ratio_parts(ratio: Record) -> tuple[Any, Any, Any]:
    """The low end, the median and the high end of a ratio."""
    return ratio.get("low"), ratio.get("median"), ratio.get("high")


def ratio_with_interval(ratio: Record | None) -> str:
    """Such as `1.18× (1.12–1.25)`."""
    if not ratio:
        return "not measured"
    interval = interval_text(ratio.get("low"), ratio.get("high"))
    return ratio_text(ratio.get("median")) + (f" ({interval})" if interval else "")


def checks_sentence(record: Record) -> str:
    """How many checks and how many sites pass; empty where nothing was checked."""
    verdict = record.get("verdict") or {}
    checks = [bool(check.get("passes")) for check in verdict.get("checks") or []]
    local = [bool((site.get("local") or {}).get("passes")) for site in verdict.get("sites") or []]
    parts = [f"{sum(checks)} of {count_text(len(checks), 'check')}"] if checks else []
    if local:
        parts.append(f"{sum(local)} of {count_text(len(local), 'local error')}")
    return f"{' and '.join(parts)} within the allowed error." if parts else ""


def check_words(check: Record) -> str:
    """One check of the verdict with its largest error beside what is allowed."""
    error, allowed = (largest(check.get(part)) for part in ("error", "allowed"))
    outcome = "passes" if check.get("passes") else "fails"
    return f"{outcome}: error {error_text(error)}, allowed {error_text(allowed)}"


def largest(error: Any) -> float | None:
    """The largest error, whether given as a number or as {max, rms}."""
    return error.get("max") if isinstance(error, dict) else error


def root_mean_square(error: Any) -> float | None:
    """The root-mean-square error, where it was given."""
    return error.get("rms") if isinstance(error, dict) else None
