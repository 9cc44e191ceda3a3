"""The plots of an estimate: what a peak consists of, and how it grows with the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnswitch.report.figures import new_figure, place_axes
from attnswitch.report.palette import LIGHT, Palette
from attnswitch.report.quantities import memory_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = dict[str, Any]
_GIB = 2**30
# The groups of a bar, from the left, and the names of parts that belong to each.
GROUPS = ("weights", "optimizer and gradients", "KV cache", "attention", "everything else")
# Beside colours, lines differ by their strokes.
_STROKES = {"flash": "-", "efficient": (0, (5, 1.5)), "blockwise": "-", "math": (0, (3, 2)),
            "eager": (0, (1, 1.5))}  # fmt: skip


def group_of(part: str) -> str:
    """The group of a part by its name in the record."""
    if part in ("weights", "buffers"):
        return "weights"
    if part in ("optimizer state", "gradients"):
        return "optimizer and gradients"
    if part == "KV cache" or part.endswith(": attention"):
        return part.rpartition(": ")[2]
    return "everything else"


def colour_of_group(group: str, palette: Palette) -> str:
    """A group's colour."""
    colours = (palette.unknown, palette.mixed, palette.fused, palette.flash, palette.standard)
    return dict(zip(GROUPS, colours, strict=True))[group]


def _colour_of_backend(backend: str, palette: Palette) -> str:
    return {
        "flash": palette.flash, "efficient": palette.fused, "blockwise": palette.standard,
        "math": palette.mixed, "eager": palette.muted,
    }[backend]  # fmt: skip


def parts_plot(record: Record, palette: Palette = LIGHT) -> Figure:
    """A bar a backend, cut into groups, with a line at each size of memory."""
    rows = record["model"]
    figure, axes = new_figure(960, 46 * len(rows) + 60, palette)
    place_axes(figure, axes, left=84, right=20, top=24, bottom=34)
    most = 0.0
    for place, row in enumerate(rows):
        phase = max(row["phases"], key=lambda phase: phase["peak_bytes"])
        sums = dict.fromkeys(GROUPS, 0)
        for part, count in phase["parts"].items():
            sums[group_of(part)] += count
        start = 0.0
        for group, count in sums.items():
            width = count / _GIB
            axes.barh(place, width, left=start, height=0.62, color=colour_of_group(group, palette))
            start += width
        most = max(most, start)
    _memory_lines(record, axes, most, palette, upright=True)
    axes.set_yticks(range(len(rows)), [row["backend"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("GiB at the peak", color=palette.muted, size=11.5)
    axes.grid(axis="x", color=palette.rule, linewidth=1)
    return figure


def length_plot(record: Record, palette: Palette = LIGHT) -> Figure:
    """Peak memory against tokens, a line a backend, both axes logarithmic."""
    figure, axes = new_figure(960, 380, palette)
    place_axes(figure, axes, left=60, right=90, top=16, bottom=46)
    ends = []
    for curve in record["curves"]:
        name = curve["backend"]
        tokens = [point["tokens"] for point in curve["points"]]
        peaks = [point["peak_bytes"] / _GIB for point in curve["points"]]
        colour = _colour_of_backend(name, palette)
        axes.plot(tokens, peaks, color=colour, linestyle=_STROKES[name], linewidth=2)
        ends.append((peaks[-1], tokens[-1], name, colour))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    every = [point["tokens"] for curve in record["curves"] for point in curve["points"]]
    axes.set_xticks(_ticks(min(every), max(every)))
    axes.set_xticklabels([f"{value:,.0f}" for value in _ticks(min(every), max(every))])
    lowest, highest = axes.get_ylim()
    axes.set_yticks(_ticks(lowest, highest))
    axes.set_yticklabels([f"{value:g}" for value in _ticks(lowest, highest)])
    _memory_lines(record, axes, highest, palette, upright=False)
    _label_ends(axes, ends, palette)
    axes.set_xlabel("tokens of a sequence", color=palette.muted, size=11.5)
    axes.set_ylabel("GiB", color=palette.muted, size=11.5)
    axes.grid(color=palette.rule, linewidth=1)
    return figure


def _label_ends(axes: Axes, ends: list[Any], palette: Palette) -> None:
    """A name beside each line's end; lines that end together share one label."""
    shared: list[tuple[float, float, list[str], str]] = []
    for peak, tokens, name, colour in sorted(ends):
        if shared and peak < shared[-1][0] * 1.2:
            shared[-1][2].append(name)
        else:
            shared.append((peak, tokens, [name], colour))
    for peak, tokens, names, colour in shared:
        axes.annotate(
            ",\n".join(reversed(names)), (tokens, peak), xytext=(6, 0), textcoords="offset points",
            va="center", color=colour if len(names) == 1 else palette.ink, size=11,
        )  # fmt: skip


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 ... between two numbers; powers of two where those are too few."""
    decades = [10.0**power for power in range(-4, 8)]
    found = [m * d for d in decades for m in (1, 2, 5) if low <= m * d <= high]
    return found or [low, high]


def _memory_lines(
    record: Record, axes: Axes, most: float, palette: Palette, *, upright: bool
) -> None:
    for size in record["machine"]["memory_bytes"]:
        where = size / _GIB
        if where > 3 * most:
            continue
        draw = axes.axvline if upright else axes.axhline
        draw(where, color=palette.bad, linewidth=1.6)
        x, y = (where, 1.0) if upright else (0.01, where)
        transform = axes.get_xaxis_transform() if upright else axes.get_yaxis_transform()
        axes.text(x, y, memory_text(size), transform=transform, color=palette.bad, size=10.5,
                  ha="center" if upright else "left", va="bottom")  # fmt: skip
