"""A verification as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from attnswitch.report.findings import shown_findings
from attnswitch.report.lines import labelled, print_line
from attnswitch.report.quantities import count_text, error_text, ratio_text, significant
from attnswitch.report.record_schema import VERIFICATION, require_schema
from attnswitch.report.safe_text import one_line, visible
from attnswitch.report.site_ranges import layer_number

Record = dict[str, Any]
# The error of scale that a verification says it could not tell.
NOTABLE_SCALE_ERROR = 0.01
# Nobody's scale is off by less, and fp32 would tell a millionth.
LEAST_SHARE = 0.0001
_HEAD = f"{'phase':<8} {'layer':<6} {'local':>20} {'propagated':>20}   logits  entropy"


def verification_text(record: Record, console: Console) -> None:
    """Print a verification record (`attnswitch.verification/1`) on `console`.

    Raises:
        InputError: `record` is no verification record.
    """
    require_schema(record, VERIFICATION)
    requests = record["requests"]
    names = f"{one_line(requests['candidate'])} (candidate), {one_line(requests['baseline'])}"
    print_line(console, Text(f"{names} (baseline)", style="bold"))
    _print_sites(record, console)
    console.print()
    verdict = record["verdict"]
    word, style = ("AGREES", "bold green") if verdict["agrees"] else ("DOES NOT AGREE", "bold red")
    said = Text.assemble((word, style), f"  {visible(verdict['explanation'])}")
    labelled(console, "Verdict", said)
    findings, more = shown_findings(verdict)
    for failure in findings:
        labelled(console, "", Text(_failure_words(failure), style="red"))
    for kind, count in more:
        labelled(console, "", Text(f"{kind}: {count} more, in the record", style="red"))
    for label, line in _more(record):
        labelled(console, label, Text(line))
    if record.get("bisection") and record["bisection"]["sites"]:
        console.print()
        console.print(record["bisection"]["policy"], markup=False, highlight=False, end="")


def _failure_words(failure: Record) -> str:
    at = f" at {failure['site']} ({failure['phase']})" if failure["site"] else ""
    return visible(f"{failure['kind']}: {failure['request']}{at}: {failure['words']}")


def _print_sites(record: Record, console: Console) -> None:
    role = None
    for entry in record["sites"]:
        if entry["role"] != role:
            role = entry["role"]
            print_line(console, Text(f"{one_line(role)}", style="bold"), 2)
            print_line(console, Text(_HEAD, style="dim"), 4)
        print_line(console, _site_line(entry), 4)


def _site_line(entry: Record) -> Text:
    statistics = entry["statistics"]
    layer = layer_number(entry["site"]) or "·"
    line = Text(f"{one_line(entry['phase'], 8):<8} {layer:<6} ")
    for view in ("local", "propagated"):
        line.append(*_error_cell(entry.get(view)))
        line.append(" ")
    line.append(f"  {significant(statistics['logit_scale'], 2):>6}  ", "dim")
    line.append(f"{significant(statistics['entropy'], 2):>7}", "dim")
    if statistics["overflow"] != "none":
        words = {"near": "scores near overflow", "yes": "scores overflow"}
        line.append(f"  {words[statistics['overflow']]} in half precision", "yellow")
    return line


def _error_cell(judgement: Record | None) -> tuple[str, str]:
    """Error of allowed, the root mean square or what fails."""
    if judgement is None:
        return f"{'not judged':>20}", "yellow"
    kind = "rms"
    error, allowed = judgement["error"], judgement["allowed"]
    if not judgement["passes"] and (error["max"] or 0) > (allowed["max"] or 0):
        kind = "max"
    said = f"{_error(error[kind])} of {_error(allowed[kind])}"
    return f"{said:>20}", "" if judgement["passes"] else "bold red"


def _error(value: float | None) -> str:
    return "not finite" if value is None else error_text(value)


def _more(record: Record) -> Iterator[tuple[str, str]]:
    if record["tokens"]:
        yield "Tokens", tokens_words(record["tokens"])
    if record["gradients"]:
        sites = record["gradients"]["sites"]
        good = sum(bool(s["local"] and s["local"]["passes"]) for s in sites)
        yield "Backward", f"{good} of {count_text(len(sites), 'site')} within the allowed error."
    if record["training"]:
        yield "Training", training_words(record["training"])
    if record["bisection"]:
        yield "Bisect", bisection_words(record["bisection"])
    if scale := scale_words(record):
        yield "Scale", scale
    if rows := _sampled_rows(record):
        yield "Rows", rows


def tokens_words(tokens: Record) -> str:
    """How many answers are the same, with the interval, and the first difference."""
    rate = tokens["rate"]
    said = (
        f"{tokens['same']} of {count_text(tokens['prompts'], 'answer')} the same "
        f"(rate {rate['low']:.2f}–{rate['high']:.2f})"
    )
    if tokens["near_ties"]:
        said += f", {count_text(tokens['near_ties'], 'near tie')}"
    if tokens["flips"]:
        said += f", {count_text(tokens['flips'], 'real flip')}"
    first = next((a for a in tokens["answers"] if a["first_difference"]), None)
    if first is None:
        return f"{said}."
    flip = first["first_difference"]
    kind = "a near tie" if flip["near_tie"] else "a flip"
    return f"{said}. First difference at token {flip['position'] + 1}: {kind}{_margin(flip)}."


def _margin(flip: Record) -> str:
    if flip["margin"] is None or flip["allowed"] is None:
        return " (one answer ended)"
    margin, allowed = (significant(flip[k], 2) for k in ("margin", "allowed"))
    return f" (margin {margin}, allowed {allowed})"


def training_words(training: Record) -> str:
    """Whether the curves part."""
    distance, allowed = (
        error_text(training[name]["loss"]) for name in ("distance", "allowed")
    )  # fmt: skip
    outcome = "part" if training["parts"] else "stay together"
    return (
        f"Over {count_text(training['steps'], 'step')} the losses {outcome}: relative distance "
        f"{distance}, allowed {allowed} (three times the baseline's from itself)."
    )


def bisection_words(bisection: Record) -> str:
    """What the search found, and what it cost."""
    used = f"{bisection['evaluations']} of {bisection['budget']} evaluations"
    if bisection["nothing_to_find"]:
        return f"Nothing to find: {bisection['nothing_to_find']} ({used})."
    sites = count_text(len(bisection["sites"]), "site")
    if not bisection["complete"]:
        among = count_text(len(bisection["among"]), "site")
        return f"Stopped by the budget ({used}): {sites} needed, and some of {among} more."
    cost = bisection["cost"]
    ratio = f"; {ratio_text(cost['median'])} the time" if cost else ""
    least = "the smallest set" if bisection["minimal"] else "a set not shown to be smallest"
    return (
        f"Switching {sites} to {bisection['towards']} makes the outputs {bisection['goal']}: "
        f"{least} ({used}{ratio})."
    )


def scale_words(record: Record) -> str:
    """From which error of scale on the sites' own rounding does not hide it."""
    told = [e["statistics"].get("scale_error_told") for e in record["sites"]]
    known = sorted(one for one in told if one is not None)
    if not known:
        return ""
    low, high = (percent_text(one) for one in (known[0], known[-1]))
    said = f"A kernel whose factor on QKᵀ is off is told from {high} on at every site"
    said += f" ({low} at the best)" if low != high else ""
    hidden = sum(one > NOTABLE_SCALE_ERROR for one in known)
    if not hidden:
        return f"{said}."
    rows = count_text(len(known), "row")
    return f"{said}; off by 1 %, rounding hides it in {hidden} of the {rows} above."


def percent_text(share: float) -> str:
    """Such as "0.43 %", or "0.01 %" for all that is less."""
    return f"{significant(100 * max(share, LEAST_SHARE), 2)} %"


def _sampled_rows(record: Record) -> str:
    some = [e["rows"] for e in record["sites"] if e["rows"]["judged"] < e["rows"]["of"]]
    if not some:
        return ""
    judged, of = (sum(rows[name] for rows in some) for name in ("judged", "of"))
    missed = max(rows["longest_missed"] for rows in some)
    return (
        f"Long prompt: {judged:,} of {of:,} query rows were judged, drawn with seed "
        f"{record['settings']['seed']}; a fault in {missed:,} successive rows or more is seen "
        "for certain, one in fewer rows perhaps not."
    )
