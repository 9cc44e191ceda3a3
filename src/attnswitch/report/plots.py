"""The plots of a comparison: what the runs cost, how they compare, and each site's error.

Every function takes a comparison record and returns a matplotlib figure, or None where the record
holds nothing to draw. None of them uses pyplot.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attnswitch.report.figures import new_figure, place_axes
from attnswitch.report.kernel_groups import kernel_groups
from attnswitch.report.local_errors import LocalError, local_errors
from attnswitch.report.palette import LIGHT, Palette
from attnswitch.report.quantities import (
    bytes_text,
    bytes_unit,
    interval_text,
    is_number,
    ratio_text,
    seconds_text,
    seconds_unit,
)
from attnswitch.report.safe_text import one_line
from attnswitch.report.sentences import COSTS, name_of, ratio_parts, ratio_with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = dict[str, Any]

# In points: two wide plots, or three narrow ones, stand side by side on a page.
_WIDE, _NARROW = 450, 330
_ROW = 52
_AXIS = 30
_TEXT = 12.5


def time_plot(record: Record, kind: str, palette: Palette = LIGHT) -> Figure | None:
    """Seconds of each run: a bar to the median and a dot for each sample.

    `kind` is `prefill` or `decode_per_token`.
    """
    rows = [
        (run, (run.get("seconds") or {}).get(kind), (run.get("samples") or {}).get(kind) or [])
        for run in record["runs"]
    ]
    return _bars(rows, seconds_unit, seconds_text, palette)


def memory_plot(record: Record, palette: Palette = LIGHT) -> Figure | None:
    """Peak memory of each run as bars from zero."""
    rows: list[Any] = [(run, run.get("peak_bytes"), []) for run in record["runs"]]
    return _bars(rows, bytes_unit, bytes_text, palette)


def ratio_plot(record: Record, palette: Palette = LIGHT) -> Figure | None:
    """Candidate / baseline with intervals around the line of no difference, on a log axis."""
    ratios = record.get("ratios") or {}
    known = {
        kind: ratio
        for kind in COSTS
        if (ratio := ratios.get(kind)) and is_number(ratio.get("median")) and ratio["median"] > 0
    }
    if not known:
        return None
    figure, axes = new_figure(_WIDE, _ROW * len(known) + _AXIS + 8, palette)
    place_axes(figure, axes, left=10, right=14, bottom=_AXIS)
    for row, (kind, ratio) in enumerate(known.items()):
        _ratio_row(axes, row, COSTS[kind][0], ratio, palette)
    ends = [v for r in known.values() for v in r.values() if is_number(v) and v > 0]
    reach = max(1.25, *(max(v, 1 / v) for v in ends)) ** 1.1
    axes.set_xscale("log")
    axes.set_xlim(1 / reach, reach)
    axes.set_ylim(len(known) - 0.35, -0.75)
    ticks = [1 / _round_reach(reach), 1, _round_reach(reach)]
    axes.set_xticks(ticks, [ratio_text(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks([])
    return figure


def _round_reach(reach: float) -> float:
    """The largest round ratio that a log axis reaching to `reach` shows well."""
    rounds = (1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000)
    return max((r for r in rounds if r <= reach), default=1.1)


def _ratio_row(axes: Axes, row: int, label: str, ratio: Record, palette: Palette) -> None:
    low, median, high = ratio_parts(ratio)
    axes.plot([1, 1], [row - 0.26, row + 0.26], color=palette.muted, linewidth=1, dashes=(3, 2))
    if interval_text(low, high):
        axes.plot([low, high], [row, row], color=palette.ink, linewidth=5, alpha=0.35,
                  solid_capstyle="round")  # fmt: skip
    axes.plot([median], [row], "o", color=palette.ink, markersize=7)
    at: Record = {"transform": axes.get_yaxis_transform(), "va": "bottom", "color": palette.ink,
                  "size": _TEXT}  # fmt: skip
    axes.text(0.012, row - 0.32, label, ha="left", **at)
    axes.text(1, row - 0.32, ratio_with_interval(ratio), ha="right", weight="bold", **at)


def _bars(rows: list[Any], unit: Any, text: Any, palette: Palette) -> Figure | None:
    """Bars from zero, a row for each run, its name and its value above the bar."""
    numbers = [
        (run, value, [s for s in samples if is_number(s) and s >= 0])
        for run, value, samples in rows
        if is_number(value) and value >= 0
    ]
    if not numbers:
        return None
    largest = max(max([value, *samples]) for _, value, samples in numbers) or 1.0
    size, unit_name = unit(largest)
    figure, axes = new_figure(_WIDE, _ROW * len(numbers) + _AXIS + 8, palette)
    place_axes(figure, axes, left=10, bottom=_AXIS)
    for row, (run, value, samples) in enumerate(numbers):
        _bar_row(axes, row, run, value / size, [s / size for s in samples], palette)
        axes.text(1, row - 0.32, text(value), transform=axes.get_yaxis_transform(), va="bottom",
                  ha="right", color=palette.ink, size=_TEXT, weight="bold")  # fmt: skip
    axes.set_ylim(len(numbers) - 0.55, -0.75)
    _value_axis(axes, largest / size, unit_name, palette)
    return figure


def _bar_row(
    axes: Axes, row: int, run: Record, value: float, samples: list[float], palette: Palette
) -> None:
    colour = palette.of_family(_family(run))
    axes.barh([row], [value], height=0.42, color=colour, alpha=0.28, linewidth=0)
    axes.plot([value, value], [row - 0.21, row + 0.21], color=colour, linewidth=2.5)
    spread = [row + 0.13 * (-1, 0, 1)[index % 3] for index in range(len(samples))]
    axes.plot(samples, spread, "o", color=colour, markersize=4, markeredgewidth=0, alpha=0.85)
    axes.text(0.012, row - 0.32, name_of(run), transform=axes.get_yaxis_transform(), va="bottom",
              ha="left", color=palette.ink, size=_TEXT, parse_math=False)  # fmt: skip


def _value_axis(axes: Axes, largest: float, unit_name: str, palette: Palette) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlim(0, largest * 1.08)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g} {unit_name}" if x else "0"))
    axes.get_xticklabels()  # settles the ticks before the first label is aligned
    axes.grid(axis="x", color=palette.rule, linewidth=1)
    axes.axvline(0, color=palette.muted, linewidth=1.2)
    axes.set_yticks([])


def _family(run: Record) -> str:
    families = {group.family for group in kernel_groups(run.get("receipts") or [])}
    return families.pop() if len(families) == 1 else "mixed" if families else "unknown"


def local_error_plots(record: Record, palette: Palette = LIGHT) -> dict[tuple[str, str], Figure]:
    """For each role and phase the largest local error of every site, on one common log axis.

    Filled dots are the candidate, rings the yardstick, bars the allowed error, crosses failures.
    """
    panels = local_errors(record)
    drawn = [v for sites in panels.values() for site in sites for v in site.positive()]
    if not drawn:
        return {}
    low, high = math.floor(math.log10(min(drawn))), math.ceil(math.log10(max(drawn)))
    limits = 10.0**low, 10.0 ** max(high, low + 1)
    return {place: _error_panel(sites, limits, palette) for place, sites in panels.items()}


def _error_panel(sites: list[LocalError], limits: tuple[float, float], palette: Palette) -> Figure:
    figure, axes = new_figure(_NARROW, 190, palette)
    place_axes(figure, axes, left=44, right=8, top=10, bottom=40)
    at = range(len(sites))
    floor = [[max(limits[0], v or limits[0]) for v in values] for values in zip(
        *((s.allowed, s.yardstick, s.error) for s in sites), strict=True)]  # fmt: skip
    size = max(2.5, min(7.0, 150 / len(sites)))
    axes.plot(at, floor[0], "_", color=palette.muted, markersize=size * 2, markeredgewidth=1.8)
    axes.plot(at, floor[1], "o", color=palette.muted, markersize=size, fillstyle="none")
    for index, site in enumerate(sites):
        mark, colour = ("o", palette.standard) if site.passes else ("X", palette.bad)
        scale = 1 if site.passes else 1.5
        axes.plot([index], [floor[2][index]], mark, color=colour, markersize=size * scale,
                  markeredgewidth=0)  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(limits[0] / 1.15, limits[1] * 1.15)
    axes.minorticks_off()
    axes.set_xlim(-0.7, max(len(sites), 4) - 0.3)
    step = max(1, math.ceil(len(sites) / 10))
    axes.set_xticks(list(at)[::step], [one_line(s.tick, 6) for s in sites][::step],
                    parse_math=False)  # fmt: skip
    decades = range(round(math.log10(limits[0])), round(math.log10(limits[1])) + 1)
    axes.set_yticks([10.0**d for d in decades], [f"1e{d}" for d in decades])
    axes.set_xlabel("layer", color=palette.muted, size=11.5)
    axes.grid(axis="y", color=palette.rule, linewidth=1)
    return figure
