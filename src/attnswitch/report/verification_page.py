"""A verification as one self-contained HTML file: no script, no network, light and dark."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnswitch.report.atomic_file import check_target, write_atomically
from attnswitch.report.findings import shown_findings
from attnswitch.report.inline_svg import inline_svg
from attnswitch.report.quantities import significant
from attnswitch.report.record_schema import VERIFICATION, require_schema
from attnswitch.report.templating import markup, render, stylesheet
from attnswitch.report.verification_plots import curve_plots, layer_plots, share_of_allowed
from attnswitch.report.verification_text import (
    bisection_words,
    percent_text,
    tokens_words,
    training_words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]
MOST_ANSWERS = 12


def write_verification_page(record: Record, path: str | Path) -> Path:
    """Write the page of a verification record to `path`, whole or not at all; returns the path.

    Raises:
        InputError: `record` is no verification record, or `path` cannot be written.
        MissingExtraError: the extra `report` is not installed.
    """
    check_target(Path(path))
    return write_atomically(path, verification_page(record).encode("utf-8"))


def verification_page(record: Record) -> str:
    """The page of a verification record (`attnswitch.verification/1`) as HTML.

    Raises:
        InputError: `record` is no verification record.
        MissingExtraError: the extra `report` is not installed.
    """
    require_schema(record, VERIFICATION)
    findings, more_findings = shown_findings(record["verdict"])
    tokens, training, bisection = (record.get(k) for k in ("tokens", "training", "bisection"))
    return render(
        "verification.html",
        record=record,
        css=markup(stylesheet()),
        requests=record["requests"],
        verdict=record["verdict"],
        headline=_headline(record),
        findings=findings,
        more_findings=more_findings,
        layers=[
            {"role": role, "phase": phase, "svg": _svg(figure, f"layers{n}", f"{role} {phase}")}
            for n, ((role, phase), figure) in enumerate(layer_plots(record).items())
        ],
        sites=[_site_row(entry) for entry in record["sites"]],
        tokens=tokens_words(tokens) if tokens else "",
        answers=[_answer(one) for one in (tokens or {}).get("answers", [])[:MOST_ANSWERS]],
        training=training_words(training) if training else "",
        curves=[
            {"name": name.replace("_", " "), "svg": _svg(figure, f"curve{n}", name)}
            for n, (name, figure) in enumerate(curve_plots(record).items())
        ],
        bisection=bisection_words(bisection) if bisection else "",
        policy=bisection["policy"] if bisection and bisection["sites"] else "",
    )


def _headline(record: Record) -> str:
    first = record["verdict"].get("first_failure")
    requests = record["requests"]
    names = f"{requests['candidate']} and {requests['baseline']}"
    if record["verdict"]["agrees"]:
        return f"The difference between {names} is rounding."
    if first and first["kind"] in ("local", "gradient"):
        return f"A bug: {first['request']} is wrong at {first['site']}."
    return f"{names} do not agree."


def _site_row(entry: Record) -> Record:
    statistics = entry["statistics"]
    told = statistics.get("scale_error_told")
    views = {}
    for who, judged in (("candidate", entry), ("baseline", entry.get("baseline") or {})):
        for view in ("local", "propagated"):
            share = share_of_allowed(judged.get(view))
            views[f"{who}_{view}"] = {
                "share": "–" if share is None else _share(share),
                "fails": share is not None and share > 1,
            }
    return {
        "site": entry["site"], "phase": entry["phase"], "views": views,
        "symptom": entry.get("symptom") or (entry.get("baseline") or {}).get("symptom") or "",
        "logits": significant(statistics["logit_scale"], 2),
        "largest": significant(statistics["largest_logit"], 3),
        "entropy": significant(statistics["entropy"], 2),
        "scale": "–" if told is None else percent_text(told),
        "overflow": {"none": "", "near": "near", "yes": "overflows"}[statistics["overflow"]],
    }  # fmt: skip


def _share(share: float) -> str:
    return "not finite" if share == float("inf") else significant(share, 2)


def _answer(one: Record) -> Record:
    """Tokens of both answers in columns, those that differ marked."""
    texts = one.get("texts") or {}
    sides = [texts.get(who) or [str(t) for t in one[who]] for who in ("baseline", "candidate")]
    first = (one.get("first_difference") or {}).get("position")
    columns = [
        {"baseline": a, "candidate": b, "differs": first is not None and n >= first and a != b}
        for n, (a, b) in enumerate(zip_longest(*sides, fillvalue="⏹"))
    ]
    return {"columns": columns, "flip": one.get("first_difference")}


def _svg(figure: Figure, name: str, description: str) -> Any:
    return markup(inline_svg(figure, name, description))
