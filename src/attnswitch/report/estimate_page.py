"""An estimate as one self-contained HTML file: no script, no network, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attnswitch.report.atomic_file import check_target, write_atomically
from attnswitch.report.estimate_plots import GROUPS, colour_of_group, length_plot, parts_plot
from attnswitch.report.estimate_text import (
    CONTEXT,
    answer_words,
    flops_text,
    group_words,
    heading_lines,
    limit_text,
    span_text,
)
from attnswitch.report.inline_svg import inline_svg
from attnswitch.report.palette import LIGHT, css_names
from attnswitch.report.quantities import bytes_text, memory_text
from attnswitch.report.record_schema import ESTIMATE, require_schema
from attnswitch.report.templating import markup, render, stylesheet

Record = dict[str, Any]


def write_page(record: Record, path: str | Path) -> Path:
    """Write the page of an estimate to `path`, whole or not at all; returns the path.

    Raises:
        InputError: `record` is no estimate, or `path` cannot be written.
        MissingExtraError: the extra `report` is not installed.
    """
    check_target(Path(path))
    return write_atomically(path, estimate_page(record).encode("utf-8"))


def estimate_page(record: Record) -> str:
    """The page of an estimate (`attnswitch.estimate/1`) as HTML.

    Raises:
        InputError: `record` is no estimate.
        MissingExtraError: the extra `report` is not installed.
    """
    require_schema(record, ESTIMATE)
    names = css_names(LIGHT)
    legend = [
        {"name": group, "colour": markup(names[colour_of_group(group, LIGHT)])} for group in GROUPS
    ]
    svgs = {}
    if record["model"]:
        what = "what peak memory consists of, a bar a backend"
        svgs["parts"] = markup(inline_svg(parts_plot(record), "parts", what))
    if record["curves"]:
        what = "peak memory against tokens, a line a backend"
        svgs["lengths"] = markup(inline_svg(length_plot(record), "lengths", what))
    return render(
        "estimate.html",
        record=record,
        css=markup(stylesheet()),
        headline=record["geometry"]["name"],
        lines=list(heading_lines(record)),
        legend=legend,
        svgs=svgs,
        models=[_model_row(row) for row in record["model"]],
        phases=[phase["phase"] for phase in record["model"][0]["phases"]]
        if record["model"]
        else [],
        limits=[_limit_row(row) for row in record["limits"]],
        sizes=[memory_text(size) for size in record["machine"]["memory_bytes"]],
        groups=[_attention(group) for group in record["attention"]],
    )


def _model_row(row: Record) -> Record:
    return {
        "backend": row["backend"],
        "fits": [{"answer": fit["answer"], "words": answer_words(fit)} for fit in row["fits"]],
        "phases": [
            {"peak": bytes_text(phase["peak_bytes"]), "seconds": span_text(phase["seconds"]),
             "flops": flops_text(phase["flops"])}
            for phase in row["phases"]
        ],
    }  # fmt: skip


def _limit_row(row: Record) -> Record:
    return {
        "backend": row["backend"], "memory": memory_text(row["memory_bytes"]),
        "tokens": limit_text(row["longest_tokens"], CONTEXT),
        "batch": limit_text(row["largest_batch"], "or more"),
    }  # fmt: skip


def _attention(group: Record) -> Record:
    rows = [
        {"backend": name, "needed": flops_text(found["flops"]["needed"]),
         "counted": flops_text(found["flops"]["counted"]),
         "moved": bytes_text(found["bytes_moved"]),
         "peak": bytes_text(found["peak_bytes"]),
         "kept": bytes_text(found["kept_bytes"]) if found["kept_bytes"] else "–",
         "seconds": span_text(found["seconds"]), "parts": _parts(found["parts"])}
        for name, found in group["backends"].items()
    ]  # fmt: skip
    return {"words": group_words(group), "rows": rows}


def _parts(parts: dict[str, int]) -> str:
    """What makes up most of a peak, the largest first."""
    least = 0.02 * sum(parts.values())
    largest = sorted(parts.items(), key=lambda part: -part[1])[:4]
    return " + ".join(f"{name} {bytes_text(count)}" for name, count in largest if count > least)
