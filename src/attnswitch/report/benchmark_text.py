"""A benchmark as text for the terminal: one table a phase of each subject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnswitch.report.benchmark_panels import Panel, groups, panels, points_at
from attnswitch.report.benchmark_sentences import break_even_sentences, note, phase_name, row_cells
from attnswitch.report.lines import print_line
from attnswitch.report.record_schema import BENCHMARK, require_schema
from attnswitch.report.safe_text import one_line, visible
from attnswitch.report.suggested_policy import suggest

Record = dict[str, Any]
_FAMILY_STYLES = {"flash": "yellow", "standard": "cyan", "fused": "magenta"}
# Columns of a terminal from which on a ratio is also put into words.
_WITH_WORDS = 118
# … and on which a time stands with its interval; the ratio always does.
_WITH_INTERVALS = 100


def benchmark_text(record: Record, console: Console) -> None:
    """Print a benchmark record (`attnswitch.benchmark/1`) on `console`.

    Raises:
        InputError: `record` is no benchmark record.
    """
    require_schema(record, BENCHMARK)
    for name, found in groups(panels(record)):
        print_line(console, Text(one_line(name, 120), style="bold"))
        for panel in found:
            _print_panel(panel, console)
        told = suggest(found)
        if told is not None:
            print_line(console, Text(f"The fastest of what was measured ({told.basis}):"))
            for line in told.yaml.splitlines():
                print_line(console, Text(visible(line), style="dim"), 2)
        console.print()


def _print_panel(panel: Panel, console: Console) -> None:
    print_line(console, Text(phase_name(panel), style="italic"), 1)
    console.print(_table(panel, console.width))
    for line in _notes(panel):
        print_line(console, Text(line, style="red"), 2)
    for line in break_even_sentences(panel):
        print_line(console, Text(line), 2)
    console.print()


def _table(panel: Panel, width: int) -> Table:
    with_words = width >= _WITH_WORDS
    time = "time" if width >= _WITH_INTERVALS else "median"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    over = f"over {panel.baseline or 'the baseline'}"
    for name in (panel.axis.split(",")[0], "request", "ran", "time", over, "", "peak memory"):
        if name or with_words:
            right = name not in ("request", "ran", "")
            justify: Any = "right" if right else "left"
            table.add_column(one_line(name, 32), justify=justify, no_wrap=True)
    for length in panel.lengths:
        shown = f"{length:,}"
        for series, point in points_at(panel, length):
            cells = row_cells(panel, point, series.request)
            style = _FAMILY_STYLES.get(str(point.row.get("family")), "")
            memory = " ".join(filter(None, (cells["memory"], cells["memory_ratio"])))
            words = [Text(cells["words"])] if with_words else []
            table.add_row(
                shown, Text(cells["request"], style), Text(cells["ran"]), cells[time] or "–",
                Text(cells["ratio"]), *words, memory,
            )  # fmt: skip
            shown = ""
    return table


def _notes(panel: Panel) -> Iterator[str]:
    """What is wrong with rows, the same of several lengths once."""
    held: dict[tuple[str, str], list[str]] = {}
    for series in panel.series:
        for point in series.points:
            told = note(point.row)
            if told:
                held.setdefault((series.request, told), []).append(f"{point.length:,}")
    for (request, told), lengths in held.items():
        yield f"{one_line(request, 32)} at {', '.join(lengths)}: {told}"
