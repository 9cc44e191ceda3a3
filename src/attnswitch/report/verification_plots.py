"""The plots of a verification: error of every layer, and the curves of training.

Both views of an error share one axis: the largest error over what is allowed, so that one line at
1 is the allowed error of every site, whatever its size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attnswitch.report.figures import new_figure, place_axes
from attnswitch.report.palette import LIGHT, Palette
from attnswitch.report.quantities import is_number
from attnswitch.report.safe_text import one_line
from attnswitch.report.site_ranges import layer_number, natural_order
from attnswitch.report.vocabulary import listing_order, role_and_phase

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]
# What is not finite, or beyond the axis, is drawn at its top.
TOP = 1e6
BOTTOM = 0.05
VIEWS = ("local", "propagated")


def share_of_allowed(judgement: Record | None) -> float | None:
    """Error over allowed error, the larger of largest and root mean square; above 1 it fails."""
    if not judgement:
        return None
    if not judgement.get("finite", True):
        return math.inf
    shares = []
    for kind in ("max", "rms"):
        error, allowed = judgement["error"].get(kind), judgement["allowed"].get(kind)
        if not is_number(error) or not is_number(allowed):
            return math.inf
        shares.append(error / allowed if allowed else (math.inf if error else 0.0))
    return max(shares)


def layer_plots(record: Record, palette: Palette = LIGHT) -> dict[tuple[str, str], Figure]:
    """{(role, phase): figure}: every site's local and propagated error over what is allowed."""
    places: dict[tuple[str, str], list[Record]] = {}
    for entry in record.get("sites") or []:
        places.setdefault(role_and_phase(entry), []).append(entry)
    for entry in (record.get("gradients") or {}).get("sites") or []:
        places.setdefault(role_and_phase(entry), []).append(entry)
    highest = max(
        (min(s, TOP) for e in _all(places) for v in VIEWS
         if (s := share_of_allowed(e.get(v))) is not None), default=1.0,
    )  # fmt: skip
    top = max(4.0, highest * 2.0)
    return {
        place: _layer_plot(sorted(places[place], key=lambda e: natural_order(e["site"])), top,
                           palette)
        for place in sorted(places, key=lambda place: listing_order(*place))
    }  # fmt: skip


def _all(places: dict[tuple[str, str], list[Record]]) -> list[Record]:
    return [entry for entries in places.values() for entry in entries]


def _layer_plot(sites: list[Record], top: float, palette: Palette) -> Figure:
    figure, axes = new_figure(450, 210, palette)
    place_axes(figure, axes, left=46, right=10, top=10, bottom=42)
    axes.axhline(1.0, color=palette.bad, linewidth=1.6)
    axes.text(0.995, 1.06, "allowed", transform=axes.get_yaxis_transform(), ha="right",
              va="bottom", color=palette.bad, size=10.5)  # fmt: skip
    size = max(3.0, min(7.0, 220 / len(sites)))
    for view, mark, colour in (
        ("propagated", "o", palette.muted),
        ("local", "D", palette.standard),
    ):
        for index, entry in enumerate(sites):
            share = share_of_allowed(entry.get(view))
            if share is None:
                continue
            filled = "full" if view == "local" else "none"
            shown = min(max(share, BOTTOM), top)
            own = palette.bad if share > 1 else colour
            axes.plot([index], [shown], mark, color=own, markersize=size, fillstyle=filled)
    axes.set_yscale("log")
    axes.set_ylim(BOTTOM * 0.85, top * 1.3)
    axes.minorticks_off()
    decades = range(-1, math.ceil(math.log10(top)) + 1)
    labelled = [10.0**d for d in decades if BOTTOM <= 10.0**d <= top * 1.3]
    axes.set_yticks(labelled, [f"{value:g}" for value in labelled])
    axes.set_xlim(-0.7, max(len(sites), 4) - 0.3)
    step = max(1, math.ceil(len(sites) / 14))
    ticks = [one_line(layer_number(e["site"]) or "·", 6) for e in sites]
    axes.set_xticks(list(range(len(sites)))[::step], ticks[::step], parse_math=False)
    axes.set_xlabel("layer", color=palette.muted, size=11.5)
    axes.grid(axis="y", color=palette.rule, linewidth=1)
    return figure


def curve_plots(record: Record, palette: Palette = LIGHT) -> dict[str, Figure]:
    """{"loss", "gradient_norm"}: every run's curve; empty without training."""
    curves = (record.get("training") or {}).get("curves") or {}
    return {
        name: _curve_plot(curves, name, palette)
        for name in ("loss", "gradient_norm")
        if any(is_number(v) for run in curves.values() for v in run.get(name) or ())
    }


def _curve_plot(curves: Record, name: str, palette: Palette) -> Figure:
    figure, axes = new_figure(450, 210, palette)
    place_axes(figure, axes, left=58, right=10, top=10, bottom=42)
    styles = {
        "baseline": (palette.flash, 2.4, "-"),
        "candidate": (palette.standard, 1.8, "--"),
    }
    # The baseline's other runs lie underneath: what it differs from itself by.
    for who in sorted(curves, key=lambda who: who in styles):
        colour, width, style = styles.get(who, (palette.unknown, 1.0, "-"))
        values = [v if is_number(v) else math.nan for v in curves[who].get(name) or ()]
        axes.plot(range(1, len(values) + 1), values, style, color=colour, linewidth=width)
    axes.set_xlabel("step", color=palette.muted, size=11.5)
    axes.grid(axis="y", color=palette.rule, linewidth=1)
    return figure
