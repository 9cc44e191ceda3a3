"""The policy that measurements speak for: at each phase and length the fastest that is valid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from attnswitch.report.benchmark_panels import Panel, Point, Series, length_of
from attnswitch.report.break_even import side_of
from attnswitch.report.quantities import is_number, ratio_text

Record = dict[str, Any]

# Below this gain a rule is not worth its line.
LEAST_GAIN = 1.03
# A request that is a word: a policy file's path is no rule's `use`.
_WORD = re.compile(r"[a-z][a-z_-]{0,30}")
_PHASES = {"vision": {"role": "vision_tower"}, "prefill": {"phase": "prefill"},
           "decode": {"phase": "decode"}}  # fmt: skip


@dataclass(frozen=True)
class Suggestion:
    """A policy as YAML, and what it rests on in words."""

    yaml: str
    basis: str


def suggest(found: Sequence[Panel]) -> Suggestion | None:
    """The policy for the panels of one subject; None where nothing ranked was measured.

    The default is what the others are compared with; a rule stands where another request is faster
    by more than the noise and by more than 3 %. Requests that are policy files are left out.
    """
    usable = [panel for panel in found if panel.phase in _PHASES and _is_ranked(panel)]
    if not usable:
        return None
    default = usable[0].baseline
    rules = [rule for panel in usable for rule in _rules(panel)]
    lines = [f"attn: {default}"]
    if rules:
        lines.append("rules:")
        lines += [line for rule in rules for line in rule]
    phases = ", ".join(dict.fromkeys(panel.phase for panel in usable))
    return Suggestion("\n".join(lines) + "\n", f"speed in {phases}; memory is not weighed")


def _is_ranked(panel: Panel) -> bool:
    points = [p for one in panel.series for p in one.points]
    return bool(_WORD.fullmatch(panel.baseline or "")) and any(
        side_of(p.ratio) is not None for p in points
    )


def _rules(panel: Panel) -> Iterator[list[str]]:
    """One rule for each stretch of lengths in which the same request wins.

    What the vision tower's calls cost does not depend on how many views there are: there the
    largest number of them decides.
    """
    lengths = panel.lengths[-1:] if panel.phase == "vision" else panel.lengths
    winners = [(length, _winner(panel, length)) for length in lengths]
    stretches: list[tuple[int, int, Series, Point]] = []
    for index, (length, won) in enumerate(winners):
        if won is None:
            continue
        series, point = won
        after = winners[index - 1][0] if index else 0
        last = stretches[-1] if stretches else None
        if last and last[2] is series and last[1] == after:
            stretches[-1] = (last[0], length, series, point)
        else:
            stretches.append((after, length, series, point))
    longest = panel.lengths[-1] if panel.lengths else 0
    for after, upto, series, point in stretches:
        yield _rule(panel, after, upto if upto != longest else None, series, point)


def _winner(panel: Panel, length: int) -> tuple[Series, Point] | None:
    """The request that is fastest at a length, where that is not the baseline."""
    best: tuple[float, Series, Point] | None = None
    for series in panel.series:
        for point in series.points:
            if point.length != length or side_of(point.ratio) != -1:
                continue
            if not _WORD.fullmatch(series.request):
                continue
            assert point.ratio is not None
            median = point.ratio["seconds"]["median"]
            if median < 1 / LEAST_GAIN and (best is None or median < best[0]):
                best = (median, series, point)
    return (best[1], best[2]) if best else None


def _rule(panel: Panel, after: int, upto: int | None, series: Series, point: Point) -> list[str]:
    when = dict(_PHASES[panel.phase])
    if panel.phase != "vision":
        bounds = [f">{after}"] if after else []
        bounds += [f"<={upto}"] if upto is not None else []
        if bounds:
            when["kv_length"] = f'"{",".join(bounds)}"'
    told = ", ".join(f"{name}: {value}" for name, value in when.items())
    ratio = (point.ratio or {}).get("seconds") or {}
    baseline = panel.baseline
    gain = ratio_text(1 / ratio["median"]) if is_number(ratio.get("median")) else "?"
    because = f"{gain} as fast as {baseline} at {length_of(point.row):,} {panel.axis}, measured"
    return [
        f"  - when: {{{told}}}",
        f"    use: {series.request}",
        f"    because: {because}",
    ]
