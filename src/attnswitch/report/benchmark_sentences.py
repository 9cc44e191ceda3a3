"""What a benchmark found, in sentences; the same ones in the terminal, on the page, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attnswitch.report.benchmark_panels import PHASE_NAMES, Panel, Point, Series, title
from attnswitch.report.break_even import break_even
from attnswitch.report.quantities import bytes_text, is_number, ratio_text, seconds_text
from attnswitch.report.safe_text import one_line
from attnswitch.report.sentences import ratio_with_interval, ratio_words

Record = dict[str, Any]

HOW = (
    "All requests of a cell took turns in one process, round by round. A time is the median of its "
    "samples with a bootstrap interval (95 %; of fewer than six samples the range); a ratio is the "
    "median of the ratios within rounds. "
    "Peak memory is the peak of what PyTorch's allocator held beyond what was there before."
)
ATTENTION_ALONE = (
    "Attention alone: one layer's softmax(QKᵀ·scale + mask)V on random q, k and v, its seconds "
    "times the number of layers; memory is one layer's, and grows with the layers only in training."
)
PHASE_MEANINGS = {
    "vision": "the vision tower and the projector, over all pictures",
    "prefill": "the language model over the whole prompt, image tokens included; no vision tower",
    "decode": "one token, with the prompt in the cache",
    "training_step": "forward and backward; no optimizer",
}


def phase_name(panel: Panel) -> str:
    """The phase in words."""
    return PHASE_NAMES.get(panel.phase, one_line(panel.phase, 24))


def headline(found: list[Panel]) -> str:
    """In one sentence what each request costs beside the baseline, in the first panel that tells.

    Prefill goes first, at each request's longest length that can be ranked.
    """
    order = sorted(found, key=lambda panel: panel.phase != "prefill")
    for panel in order:
        told = [(one, ranked[-1]) for one in panel.series if (ranked := _ranked(one))]
        if told:
            return _headline(panel, told)
    return "Nothing was measured that can be ranked."


def _headline(panel: Panel, told: list[tuple[Series, Point]]) -> str:
    baseline = one_line(panel.baseline, 24)
    parts: list[str] = []
    for series, point in told:
        ratio = ratio_with_interval((point.ratio or {}).get("seconds"))
        of = f"the time of {baseline}" if not parts else ""
        at = f"at {point.length:,} {panel.axis}"
        parts.append(" ".join(f"{one_line(series.request, 24)} takes {ratio} {of} {at}".split()))
    where = f"{phase_name(panel)} of {one_line(title(panel), 60)}"
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"In {where}, {listed}."


def _ranked(series: Series) -> list[Point]:
    return [
        point
        for point in series.points
        if point.ratio
        and point.ratio.get("ranked")
        and is_number((point.ratio.get("seconds") or {}).get("median"))
    ]


def break_even_sentences(panel: Panel) -> Iterator[str]:
    """For each request whether and where it crosses the baseline."""
    for series in panel.series:
        told = break_even(panel, series)
        if told is not None:
            text = told.sentence(panel.axis)
            yield one_line(f"{text[:1].upper()}{text[1:]}.", 240)


def row_cells(panel: Panel, point: Point, request: str) -> dict[str, str]:
    """What a table says of a point: length, request, ran, time, ratio, memory, memory_ratio, note.

    A row that was not timed has its reasons in `note`.
    """
    row, ratio = point.row, point.ratio or {}
    seconds = row.get("seconds") or {}
    timed = is_number(seconds.get("median"))
    peak = ratio.get("peak_bytes")
    return {
        "length": f"{point.length:,}",
        "request": one_line(request, 32),
        "ran": one_line(row.get("backend") or "", 24),
        "time": _time(seconds) if timed else "",
        "median": seconds_text(seconds.get("median")) if timed else "",
        "ratio": ratio_with_interval(ratio["seconds"]) if ratio.get("seconds") else "",
        "words": _ratio_words(panel, ratio, request),
        "memory": bytes_text(row.get("peak_bytes")) if is_number(row.get("peak_bytes")) else "",
        "memory_ratio": ratio_text(peak) if is_number(peak) else "",
        "resident": _resident(row),
        "note": note(row),
    }


def _time(seconds: Record) -> str:
    ends = [seconds_text(seconds.get(name)) for name in ("low", "high")]
    return f"{seconds_text(seconds['median'])} ({ends[0]}–{ends[1]})"


def _ratio_words(panel: Panel, ratio: Record, request: str) -> str:
    if request == panel.baseline and not ratio:
        return "the baseline"
    if not ratio:
        return ""
    return (
        ratio_words("prefill", ratio.get("seconds"))
        if ratio.get("ranked")
        else f"not ranked: {one_line(ratio.get('because'), 80)}"
    )


def _resident(row: Record) -> str:
    value = row.get("resident_bytes")
    return bytes_text(value) if is_number(value) else ""


def note(row: Record) -> str:
    """Why a row is not valid; empty where it is."""
    if row.get("status") == "valid":
        return ""
    reasons = "; ".join(str(reason) for reason in row.get("reasons") or ["no reason was recorded"])
    return one_line(f"{row.get('status')}: {reasons}", 300)


def rounds_sentence(record: Record) -> str:
    """How many samples stand behind a number."""
    counts = sorted({len(row.get("samples") or []) for row in record.get("rows") or []} - {0})
    if not counts:
        return "No samples were taken."
    many = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{many} samples of each."
