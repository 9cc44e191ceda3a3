"""A benchmark as one self-contained HTML file: no script, no network, light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnswitch.report import benchmark_plots as plots
from attnswitch.report.atomic_file import check_target, write_atomically
from attnswitch.report.benchmark_panels import Panel, groups, panels, points_at, title
from attnswitch.report.benchmark_sentences import (
    ATTENTION_ALONE,
    HOW,
    PHASE_MEANINGS,
    break_even_sentences,
    headline,
    phase_name,
    rounds_sentence,
    row_cells,
)
from attnswitch.report.environment_rows import environment_rows
from attnswitch.report.inline_svg import inline_svg
from attnswitch.report.kernel_groups import kernel_groups
from attnswitch.report.palette import DARK, LIGHT, Palette
from attnswitch.report.plot_files import save_plot
from attnswitch.report.quantities import count_text
from attnswitch.report.record_schema import BENCHMARK, require_schema
from attnswitch.report.suggested_policy import suggest
from attnswitch.report.templating import markup, render, stylesheet
from attnswitch.report.vocabulary import evidence_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]

_PLOTS = (
    ("time", "Time", "log axes, with intervals", plots.time_plot),
    ("memory", "Peak memory", "log axes", plots.memory_plot),
    ("ratio", "Time over the baseline's", "below 1 is faster", plots.ratio_plot),
)


def write_benchmark_page(record: Record, path: str | Path, note: str = "") -> Path:
    """Write the page of a benchmark record to `path`, whole or not at all; returns the path.

    `note` is a line under the heading.

    Raises:
        InputError: `record` is no benchmark record, or `path` cannot be written.
        MissingExtraError: the extra `report` is not installed.
    """
    check_target(Path(path))
    return write_atomically(path, benchmark_page(record, note).encode("utf-8"))


def benchmark_page(record: Record, note: str = "") -> str:
    """The page of a benchmark record (`attnswitch.benchmark/1`) as HTML.

    The same record gives the same text.

    Raises:
        InputError: `record` is no benchmark record.
        MissingExtraError: the extra `report` is not installed.
    """
    require_schema(record, BENCHMARK)
    found = panels(record)
    numbers = iter(range(10**9))
    return render(
        "benchmark.html",
        css=markup(stylesheet()),
        headline=headline(found),
        note=note,
        tiles=_tiles(record),
        subjects=[_subject(name, some, numbers) for name, some in groups(found)],
        how=HOW,
        rounds=rounds_sentence(record),
        attention_alone=ATTENTION_ALONE if any(p.part == "attention" for p in found) else "",
        environment=list(environment_rows(record.get("environment") or {})),
        project=_project(record.get("project") or {}),
        runs=record.get("runs") or [],
    )


def save_plots(
    record: Record,
    folder: Path,
    palette: Palette = LIGHT,
    endings: tuple[str, ...] = ("svg", "png"),
) -> dict[str, Path]:
    """Write every plot into `folder` in each format; returns {caption: the file of the first}.

    `main` and `main-dark` are the one to show in a README, on light and on dark paper.

    Raises:
        InputError: `record` is no benchmark record, or the folder cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    require_schema(record, BENCHMARK)
    folder.mkdir(parents=True, exist_ok=True)
    saved: dict[str, Path] = {}
    found = panels(record)
    for shade, name in ((LIGHT, "main"), (DARK, "main-dark")):
        if (figure := _main(found, shade)) is not None:
            for end in endings:
                save_plot(figure, folder / f"{name}.{end}", shade.paper)
    for caption, figure in _figures(found, palette):
        name = _file_name(caption)
        if any(path.stem == name for path in saved.values()):
            name = f"{name}-{len(saved)}"
        files = [save_plot(figure, folder / f"{name}.{end}", palette.paper) for end in endings]
        saved[caption] = files[0]
    return saved


def _main(found: list[Panel], palette: Palette) -> Figure | None:
    """The one plot for a README: the first prefill with two lengths, else the first that has."""
    for panel in sorted(found, key=lambda panel: panel.phase != "prefill"):
        figure = plots.main_plot(panel, f"{title(panel)}: {phase_name(panel)}", palette)
        if figure is not None:
            return figure
    return None


def _figures(found: list[Panel], palette: Palette) -> Iterator[tuple[str, Figure]]:
    for _, some in groups(found):
        for panel in some:
            for _, name, _, draw in _PLOTS:
                if (figure := draw(panel, palette)) is not None:
                    yield f"{title(panel)}: {phase_name(panel)}, {name.lower()}", figure
        if (figure := plots.phase_plot(some, palette)) is not None:
            yield f"{title(some[0])}: by phase", figure


def _file_name(caption: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", caption.lower().replace("'", ""))[:100].strip("-.") or "plot"


def _subject(name: str, some: list[Panel], numbers: Iterator[int]) -> Record:
    bars = plots.phase_plot(some)
    told = suggest(some)
    return {
        "name": name,
        "bars": _svg(bars, next(numbers), f"{name} by phase") if bars is not None else None,
        "phases": [_phase(panel, numbers) for panel in some],
        "policy": told,
    }


def _phase(panel: Panel, numbers: Iterator[int]) -> Record:
    cards = [
        {"name": name, "note": note, "svg": _svg(figure, next(numbers), f"{name}, {panel.phase}")}
        for _, name, note, draw in _PLOTS
        if (figure := draw(panel)) is not None
    ]
    rows = [
        {**row_cells(panel, point, series.request), "family": str(point.row.get("family")),
         "first": number == 0, "ran_where": _ran(point.row)}
        for length in panel.lengths
        for number, (series, point) in enumerate(points_at(panel, length))
    ]  # fmt: skip
    return {
        "name": phase_name(panel),
        "meaning": PHASE_MEANINGS.get(panel.phase, ""),
        "axis": panel.axis,
        "baseline": panel.baseline or "the baseline",
        "cards": cards,
        "sentences": list(break_even_sentences(panel)),
        "rows": rows,
        "resident": any(row["resident"] for row in rows),
    }


def _ran(row: Record) -> str:
    """What was seen to run, for pointing at."""
    return "; ".join(
        f"{group.role} {group.phase}: {group.backend} ×{group.calls}, "
        f"{', '.join(group.executed) or 'no kernel seen'} ({evidence_text(group.evidence)})"
        for group in kernel_groups(row.get("receipts") or [])
    )


def _tiles(record: Record) -> list[Record]:
    rows = record.get("rows") or []
    counts = {
        status: sum(1 for row in rows if row.get("status") == status)
        for status in ("valid", "invalid", "not run")
    }
    ranked = [bool(one.get("ranked")) for one in record.get("ratios") or []]
    wrong = counts["invalid"]
    return [
        {"name": "measured", "state": count_text(counts["valid"], "row"), "kind": "verdict-yes",
         "note": "what ran is what was asked for"},
        {"name": "invalid", "state": count_text(wrong, "row"),
         "kind": "verdict-no" if wrong else "verdict-unknown",
         "note": "something else ran: shown, not ranked"},
        {"name": "not run", "state": count_text(counts["not run"], "row"),
         "kind": "verdict-unknown", "note": "with the reason"},
        {"name": "ratios", "state": f"{sum(ranked)} of {len(ranked)} ranked",
         "kind": "verdict-unknown", "note": "never where both ran the same kernels"},
    ]  # fmt: skip


def _project(project: Record) -> str:
    if not project.get("commit"):
        return ""
    changed = ", changed since" if project.get("dirty") else ""
    return f"{project.get('path')} at {str(project['commit'])[:12]}{changed}"


def _svg(figure: Figure, number: int, description: str) -> Any:
    return markup(inline_svg(figure, f"plot{number}", description))
