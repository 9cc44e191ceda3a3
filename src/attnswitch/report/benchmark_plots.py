"""The plots of a benchmark: time, memory and ratios against length, and bars by phase.

Every function takes panels (`benchmark_panels`) and returns a matplotlib figure, or None where they
hold nothing to draw. A family has its colour; backends of one family differ by line and mark, and
every line is named at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attnswitch.report.benchmark_panels import PHASE_NAMES, Panel, Point, Series
from attnswitch.report.figures import add_axes, new_figure, place_axes
from attnswitch.report.palette import LIGHT, Palette
from attnswitch.report.quantities import (
    bytes_text,
    low_median_high,
    ratio_text,
    seconds_text,
)
from attnswitch.report.safe_text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE, _HIGH = 376, 262
_TEXT = 11.5
_DECIMAL = (
    10,
    ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(n / 10 for n in range(10, 100))),
)
_BINARY = (16, ((1,), (1, 4), (1, 2, 4, 8), (1, 1.5, 2, 3, 4, 6, 8, 12)))
# (line, mark): of the first request of a family, the second …
_STYLES = (("-", "o"), ((0, (5, 2)), "s"), ((0, (1.2, 1.8)), "^"), ((0, (6, 2, 1, 2)), "D"))
_TICK_ROOM, _NAME_ROOM = 60, 72
_BARS_LEFT, _BARS_RIGHT = 92, 84


def time_plot(panel: Panel, palette: Palette = LIGHT) -> Figure | None:
    """Seconds against length on log axes, with intervals."""
    return _lines(panel, _seconds, _seconds_tick, palette)


def memory_plot(panel: Panel, palette: Palette = LIGHT) -> Figure | None:
    """Peak memory against length on log axes."""
    return _lines(panel, _peak, _bytes_tick, palette)


def ratio_plot(panel: Panel, palette: Palette = LIGHT) -> Figure | None:
    """Time over the baseline's against length, with intervals; not ranked pairs are hollow."""
    figure = _lines(panel, _ratio, _ratio_tick, palette)
    if figure is not None:
        axes = figure.axes[0]
        axes.axhline(1, color=palette.muted, linewidth=1.2, dashes=(3, 2))
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 1 / 1.15), max(high, 1.15))
        _value_ticks(axes, _ratio_tick)
    return figure


def main_plot(panel: Panel, name: str, palette: Palette = LIGHT) -> Figure | None:
    """Time and peak memory against length, side by side, under `name`: for a README."""
    wide = 2 * _WIDE
    figure, left = new_figure(wide, _HIGH + 46, palette)
    right = add_axes(figure, palette)
    for axes, value, tick, side, head in (
        (left, _seconds, _seconds_tick, 0, "time"),
        (right, _peak, _bytes_tick, _WIDE, "peak memory"),
    ):
        place_axes(figure, axes, left=side + _TICK_ROOM, right=wide - side - _WIDE + _NAME_ROOM,
                   top=56, bottom=44)  # fmt: skip
        if not _draw(axes, panel, value, tick, palette):
            return None
        axes.set_title(head, loc="left", color=palette.ink, size=_TEXT, weight="bold", pad=8)
    figure.text(0.012, 0.94, one_line(name, 100), color=palette.ink, size=_TEXT + 2,
                parse_math=False)  # fmt: skip
    return figure


def _seconds(point: Point) -> tuple[float, float, float] | None:
    return point.seconds


def _peak(point: Point) -> tuple[float, float, float] | None:
    value = point.row.get("peak_bytes")
    return low_median_high({"low": value, "median": value, "high": value})


def _ratio(point: Point) -> tuple[float, float, float] | None:
    return low_median_high((point.ratio or {}).get("seconds"))


def phase_plot(found: Sequence[Panel], palette: Palette = LIGHT) -> Figure | None:
    """For each phase the seconds of every request at its longest common length, as bars.

    Each phase has its own scale, from zero: a decoded token and a prefill share none.
    """
    rows = [row for panel in found for row in _phase_rows(panel)]
    if not rows:
        return None
    heads = sum(1 for row in rows if isinstance(row, str))
    figure, axes = new_figure(_WIDE, 30 * heads + 26 * (len(rows) - heads) + 10, palette)
    place_axes(figure, axes, left=_BARS_LEFT, right=_BARS_RIGHT, bottom=4)
    at = 0.0
    for row in rows:
        if isinstance(row, str):
            at += 0.35
            axes.text(_beside(2), at, row, transform=axes.get_yaxis_transform(), va="center",
                      ha="left", color=palette.muted, size=_TEXT)  # fmt: skip
        else:
            _phase_bar(axes, at, row, palette)
        at += 1
    axes.set_ylim(at - 0.4, -0.4)
    axes.set_xlim(0, 1.02)
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def _phase_rows(panel: Panel) -> list[Any]:
    """A heading, then (series, its point, the largest of them) for each request."""
    timed = [one for one in panel.series if one.timed()]
    common = [n for n in panel.lengths if all(any(p.length == n for p in s.timed()) for s in timed)]
    if not timed or not common:
        return []
    length = common[-1]
    points = [(s, next(p for p in s.timed() if p.length == length)) for s in timed]
    largest = max(p.seconds[2] for _, p in points if p.seconds)
    what = "a token after" if panel.phase == "decode" else ""
    head = f"{PHASE_NAMES.get(panel.phase, one_line(panel.phase, 20))}, {what} {length:,}"
    return [f"{' '.join(head.split())} {panel.axis}", *((s, p, largest) for s, p in points)]


def _beside(points: float) -> float:
    """A place so many points from the figure's left edge, as a share of the bars' axes."""
    return (points - _BARS_LEFT) / (_WIDE - _BARS_LEFT - _BARS_RIGHT)


def _phase_bar(axes: Axes, at: float, row: tuple[Series, Point, float], palette: Palette) -> None:
    one, point, largest = row
    assert point.seconds is not None
    low, median, high = (value / largest for value in point.seconds)
    colour = palette.of_family(one.family)
    axes.barh([at], [median], height=0.62, color=colour, alpha=0.32 if point.is_valid else 0.12,
              linewidth=0)  # fmt: skip
    axes.plot([0, 0], [at - 0.5, at + 0.5], color=palette.muted, linewidth=1.2)
    axes.plot([low, high], [at, at], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot([median, median], [at - 0.31, at + 0.31], color=colour, linewidth=2.2)
    invalid = "" if point.is_valid else ", invalid"
    texts = ((_beside(14), one_line(one.request, 13), "normal"),
             (1.03, seconds_text(point.seconds[1]) + invalid, "bold"))  # fmt: skip
    for place, text, weight in texts:
        axes.text(place, at, text, transform=axes.get_yaxis_transform(), va="center", ha="left",
                  color=palette.ink, size=_TEXT, weight=weight, parse_math=False)  # fmt: skip


Value = Callable[[Point], "tuple[float, float, float] | None"]


def _lines(
    panel: Panel, value: Value, tick: Callable[[float], str], palette: Palette
) -> Figure | None:
    figure, axes = new_figure(_WIDE, _HIGH, palette)
    place_axes(figure, axes, left=_TICK_ROOM, right=_NAME_ROOM, top=10, bottom=44)
    return figure if _draw(axes, panel, value, tick, palette) else None


def _draw(
    axes: Axes, panel: Panel, value: Value, tick: Callable[[float], str], palette: Palette
) -> bool:
    """Draw a line for each request; False where there are no two lengths."""
    drawn = [
        (one, [(p, v) for p in one.points if (v := value(p)) is not None]) for one in panel.series
    ]
    drawn = [(one, points) for one, points in drawn if points]
    lengths = {point.length for _, points in drawn for point, _ in points}
    if not drawn or len(lengths) < 2:
        return False
    styles: dict[str, int] = {}
    for number, (one, points) in enumerate(drawn):
        style = styles[one.family] = styles.get(one.family, -1) + 1
        # Lines that lie on each other: the ones below are wider, so that each is seen.
        width = 2 + 1.6 * (len(drawn) - 1 - number)
        _line(axes, one, points, _STYLES[style % len(_STYLES)], width, palette)
    ends = [(points[-1][0].length, points[-1][1][1], one.request, palette.of_family(one.family))
            for one, points in drawn]  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    _length_axis(axes, sorted(lengths), panel.axis, palette)
    _value_axis(axes, [v for _, points in drawn for _, values in points for v in values], tick)
    axes.grid(axis="y", color=palette.rule, linewidth=1)
    _name_lines(axes, max(lengths), ends)
    return True


def _line(
    axes: Axes, one: Series, points: list[Any], style: Any, width: float, palette: Palette
) -> None:
    colour = palette.of_family(one.family)
    at = [point.length for point, _ in points]
    middle = [values[1] for _, values in points]
    axes.plot(at, middle, linestyle=style[0], color=colour, linewidth=width)
    for point, (low, median, high) in points:
        axes.plot([point.length] * 2, [low, high], color=colour, linewidth=4, alpha=0.35,
                  solid_capstyle="round")  # fmt: skip
        full = point.is_valid and (point.ratio is None or point.ratio.get("ranked"))
        axes.plot([point.length], [median], style[1], color=colour, markersize=4 + width,
                  fillstyle="full" if full else "none")  # fmt: skip


def _length_axis(axes: Axes, lengths: list[int], name: str, palette: Palette) -> None:
    reach = (lengths[-1] / lengths[0]) ** 0.04
    axes.set_xlim(lengths[0] / reach, lengths[-1] * reach)
    shown: list[int] = []
    width = math.log(lengths[-1] / lengths[0])
    for length in lengths:  # a label every 46 points at least
        if (
            not shown
            or math.log(length / shown[-1]) * (_WIDE - _TICK_ROOM - _NAME_ROOM) / width > 46
        ):
            shown.append(length)
    axes.minorticks_off()
    axes.set_xticks(shown, [f"{length:,}" for length in shown])
    axes.set_xlabel(name, color=palette.muted, size=_TEXT)


def _value_axis(axes: Axes, values: list[float], tick: Callable[[float], str]) -> None:
    low, high = min(values), max(values)
    reach = max((high / low) ** 0.06, 1.1)
    axes.set_ylim(low / reach, high * reach)
    _value_ticks(axes, tick)


def _value_ticks(axes: Axes, tick: Callable[[float], str]) -> None:
    """Three to seven round values: powers of the base where there are enough, else finer ones."""
    low, high = axes.get_ylim()
    base, choices = _BINARY if tick is _bytes_tick else _DECIMAL
    for steps in choices:
        powers = range(math.floor(math.log(low, base)), math.ceil(math.log(high, base)) + 1)
        ticks = [step * float(base) ** power for power in powers for step in steps]
        ticks = [value for value in ticks if low <= value <= high]
        if len(ticks) >= 3:
            break
    ticks = ticks[:: math.ceil(len(ticks) / 7)]
    axes.minorticks_off()
    axes.set_yticks(ticks, [tick(value) for value in ticks])


def _name_lines(axes: Axes, longest: int, ends: list[tuple[int, float, str, str]]) -> None:
    """Write each line's name at its end; at the right edge moved apart where they would overlap."""
    height = _HIGH - 54
    low, high = (math.log(v) for v in axes.get_ylim())
    placed = -math.inf
    for length, value, request, colour in sorted(ends, key=lambda end: end[1]):
        name: dict[str, Any] = {"va": "center", "color": colour, "size": _TEXT,
                                "weight": "bold", "parse_math": False}  # fmt: skip
        if length < longest:
            axes.annotate(one_line(request, 13), (length, value), (-9, 7), ha="right", **name,
                          textcoords="offset points")  # fmt: skip
            continue
        placed = max((math.log(value) - low) / (high - low) * height, placed + 13)
        axes.text(
            1.03,
            placed / height,
            one_line(request, 13),
            transform=axes.transAxes,
            ha="left",
            **name,
        )


def _seconds_tick(value: float) -> str:
    return seconds_text(value)


def _ratio_tick(value: float) -> str:
    return ratio_text(value)


def _bytes_tick(value: float) -> str:
    return bytes_text(value).replace(".00", "").replace(".0", "")
