"""A comparison as one self-contained HTML file: no script, no network, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnswitch.report.answer_parts import answer_parts
from attnswitch.report.atomic_file import check_target, write_atomically
from attnswitch.report.environment_rows import environment_rows
from attnswitch.report.flash_status import flash_status
from attnswitch.report.inline_svg import inline_svg
from attnswitch.report.kernel_groups import same_kernels
from attnswitch.report.pictures import shown_pictures
from attnswitch.report.plots import local_error_plots, memory_plot, ratio_plot, time_plot
from attnswitch.report.record_schema import COMPARISON, require_schema
from attnswitch.report.sentences import (
    COSTS,
    agrees,
    checks_sentence,
    headline,
    largest,
    name_of,
    ratio_with_interval,
    ratio_words,
    root_mean_square,
    tokens_sentence,
)
from attnswitch.report.strip import receipt_words, strip_lanes
from attnswitch.report.templating import markup, render, stylesheet
from attnswitch.report.vocabulary import FAMILY_LETTERS, FAMILY_MEANINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]


def write_page(record: Record, path: str | Path) -> Path:
    """Write the page of a comparison record to `path`, whole or not at all; returns the path.

    Raises:
        InputError: `record` is no comparison record, or `path` cannot be written.
        MissingExtraError: the extra `report` is not installed.
    """
    check_target(Path(path))
    return write_atomically(path, comparison_page(record).encode("utf-8"))


def comparison_page(record: Record) -> str:
    """The page of a comparison record (`attnswitch.comparison/1`) as HTML.

    The same record gives the same text.

    Raises:
        InputError: `record` is no comparison record.
        MissingExtraError: the extra `report` is not installed.
    """
    require_schema(record, COMPARISON)
    return render(
        "comparison.html",
        record=record,
        css=markup(stylesheet()),
        headline=headline(record),
        outcome={True: "yes", False: "no"}.get(agrees(record), "unknown"),  # type: ignore[arg-type]
        runs=_runs(record),
        tokens=tokens_sentence(record),
        checks=_checks(record),
        checks_sentence=checks_sentence(record),
        pictures=shown_pictures(record),
        lanes=strip_lanes(record["runs"]),
        legend=_legend(record),
        costs=_costs(record),
        errors=_errors(record),
        environment=list(environment_rows(record.get("environment") or {})),
        receipt_words=receipt_words,
    )


def _runs(record: Record) -> list[Record]:
    first = (record.get("verdict") or {}).get("first_difference") or {}
    parts = answer_parts(record["runs"], first.get("position"))
    return [
        {
            "name": name_of(run),
            "part": "candidate" if index else "baseline",
            "source": run.get("source"),
            "status": flash_status(run.get("receipts") or []),
            "answer": parts[index],
            "token_count": len(run.get("tokens") or []),
            "receipts": run.get("receipts") or [],
        }
        for index, run in enumerate(record["runs"])
    ]


def _checks(record: Record) -> list[Record]:
    names = ("error", "yardstick_error", "allowed")
    return [
        {
            "run": check.get("run"),
            "what": check.get("what"),
            "passes": bool(check.get("passes")),
            "max": [largest(check.get(name)) for name in names],
            "rms": [root_mean_square(check.get(name)) for name in names],
        }
        for check in (record.get("verdict") or {}).get("checks") or []
    ]


def _legend(record: Record) -> list[tuple[str, str, str]]:
    """(family, letter, meaning) of what the strip shows."""
    cells = (
        cell
        for lane in strip_lanes(record["runs"])
        for column in lane.columns
        for cell in column.cells
    )
    seen = {cell.family for cell in cells} | {"standard", "flash"}
    return [(f, FAMILY_LETTERS[f], FAMILY_MEANINGS[f]) for f in FAMILY_LETTERS if f in seen]


def _costs(record: Record) -> list[Record]:
    """A card for each cost: its name, its ratio, that ratio in words, and its plot."""
    ratios, runs = record.get("ratios") or {}, record["runs"]
    receipts = [run.get("receipts") or [] for run in runs]
    unranked = len(runs) > 1 and same_kernels(*receipts[:2])
    figures = {
        "prefill": time_plot(record, "prefill"),
        "decode_per_token": time_plot(record, "decode_per_token"),
        "peak_bytes": memory_plot(record),
    }
    cards = [
        {
            "name": COSTS[kind][0],
            "ratio": ratio_with_interval(ratios[kind]) if ratios.get(kind) else "",
            "words": _ranking(kind, ratios, unranked),
            "svg": _svg(figure, kind, COSTS[kind][0]),
        }
        for kind, figure in figures.items()
        if figure
    ]
    if (figure := ratio_plot(record)) is not None:
        name = f"{name_of(runs[1])} against {name_of(runs[0])}" if len(runs) > 1 else "Ratios"
        cards.append({"name": name, "ratio": "", "words": "ratio of the two, with its interval",
                      "svg": _svg(figure, "ratio", name)})  # fmt: skip
    return cards


def _ranking(kind: str, ratios: Record, unranked: bool) -> str:
    if unranked:
        return "both runs ran the same kernels: not ranked"
    return ratio_words(kind, ratios.get(kind))


def _errors(record: Record) -> list[Record]:
    return [
        {"role": role, "phase": phase, "svg": _svg(figure, f"error{n}", f"{role} {phase}")}
        for n, ((role, phase), figure) in enumerate(local_error_plots(record).items())
    ]


def _svg(figure: Figure, name: str, description: str) -> Any:
    return markup(inline_svg(figure, name, description))
