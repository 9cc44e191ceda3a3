"""A benchmark as Markdown, for an issue or a README."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attnswitch.report.atomic_file import check_target, write_atomically
from attnswitch.report.benchmark_panels import Panel, groups, panels, points_at
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
from attnswitch.report.record_schema import BENCHMARK, require_schema
from attnswitch.report.safe_text import one_line
from attnswitch.report.suggested_policy import suggest

Record = dict[str, Any]
# What Markdown or HTML inside it would read as more than text.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@])")


def write_markdown(
    record: Record, path: str | Path, plots: Mapping[str, Path] = {}, note: str = ""
) -> Path:
    """Write the record as Markdown, whole or not at all; returns the path.

    `note` is a line under the heading. `plots` are pictures to show, by their caption; they are
    named as they lie beside the file.

    Raises:
        InputError: `record` is no benchmark record, or `path` cannot be written.
    """
    check_target(Path(path))
    folder = Path(path).resolve().parent
    shown = {caption: _beside(picture, folder) for caption, picture in plots.items()}
    return write_atomically(path, benchmark_markdown(record, shown, note).encode("utf-8"))


def benchmark_markdown(record: Record, plots: Mapping[str, str] = {}, note: str = "") -> str:
    """The record as Markdown text.

    Raises:
        InputError: `record` is no benchmark record.
    """
    require_schema(record, BENCHMARK)
    return "\n".join(_lines(record, plots, note)) + "\n"


def plain(text: object, limit: int = 200) -> str:
    """`text` on one line, as text and nothing else in Markdown."""
    return _SPECIAL.sub(r"\\\1", one_line(text, limit))


def _beside(picture: Path, folder: Path) -> str:
    picture = picture.resolve()
    inside = picture.is_relative_to(folder)
    return (picture.relative_to(folder) if inside else picture).as_posix()


def _lines(record: Record, plots: Mapping[str, str], note: str) -> Iterator[str]:
    found = panels(record)
    yield f"**{plain(headline(found), 400)}**"
    yield ""
    if note:
        yield plain(note, 1000)
        yield ""
    for caption, address in plots.items():
        yield f"![{plain(caption)}]({address.replace(' ', '%20')})"
        yield ""
    for name, some in groups(found):
        yield f"### {plain(name)}"
        yield ""
        for panel in some:
            yield from _panel(panel)
        told = suggest(some)
        if told is not None:
            yield f"The fastest of what was measured, as a policy ({told.basis}):"
            yield ""
            yield f"```yaml\n{told.yaml}```"
            yield ""
    alone = " " + ATTENTION_ALONE if any(panel.part == "attention" for panel in found) else ""
    yield f"{HOW} {rounds_sentence(record)}{alone}"
    yield ""
    environment = dict(record.get("environment") or {})
    for key, value in environment_rows(environment):
        yield f"- {plain(key, 60)}: {plain(value, 400)}"


def _panel(panel: Panel) -> Iterator[str]:
    meaning = PHASE_MEANINGS.get(panel.phase)
    yield f"**{plain(phase_name(panel))}**" + (f" ({meaning})" if meaning else "")
    yield ""
    over = plain(panel.baseline or "the baseline", 32)
    yield f"| {panel.axis} | request | ran | time | over {over} | peak memory | over {over} |"
    yield "| ---: | --- | --- | ---: | ---: | ---: | ---: |"
    for length in panel.lengths:
        for series, point in points_at(panel, length):
            yield _row(row_cells(panel, point, series.request))
    yield ""
    for sentence in break_even_sentences(panel):
        yield f"{plain(sentence, 240)}"
        yield ""


def _row(cells: dict[str, str]) -> str:
    time = cells["note"] or cells["time"]
    if cells["note"] and cells["time"]:
        time = f"{cells['time']}, {cells['note']}"
    ratio = cells["ratio"]
    if cells["words"].startswith("not ranked"):
        ratio = f"{ratio}, {cells['words']}"
    told = (cells["length"], cells["request"], cells["ran"], time, ratio, cells["memory"],
            cells["memory_ratio"])  # fmt: skip
    return "| " + " | ".join(plain(cell, 300) for cell in told) + " |"
