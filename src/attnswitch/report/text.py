"""A comparison or a trace as text for the terminal, plain where the output is no terminal.

Everything from records is added as `rich.text.Text`, never as markup, and never splits a kernel's
name over two lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from attnswitch.report.flash_status import FlashStatus, flash_status
from attnswitch.report.kernel_groups import KernelGroup, kernel_groups, same_kernels
from attnswitch.report.lines import LABEL, labelled, print_line
from attnswitch.report.quantities import bytes_text, count_text, seconds_text
from attnswitch.report.record_schema import COMPARISON, TRACE, require_schema
from attnswitch.report.safe_text import one_line, visible
from attnswitch.report.sentences import (
    COSTS,
    agrees,
    check_words,
    checks_sentence,
    name_of,
    ratio_with_interval,
    ratio_words,
    tokens_sentence,
)
from attnswitch.report.site_ranges import site_ranges
from attnswitch.report.trace_details import form_of, refusal_lines, request_lines

Record = dict[str, Any]

_STATE_STYLES = {"on": "bold yellow", "partly on": "bold yellow", "off": "bold green"}
_FAMILY_STYLES = {"flash": "yellow", "standard": "cyan", "fused": "magenta"}
_INDENT = 2


def comparison_text(record: Record, console: Console) -> None:
    """Print a comparison record (`attnswitch.comparison/1`) on `console`.

    Raises:
        InputError: `record` is no comparison record.
    """
    require_schema(record, COMPARISON)
    _print_status(record, console)
    for index, run in enumerate(record["runs"]):
        console.print()
        _print_run(run, index, console)
    console.print()
    _print_ratios(record, console)
    _print_verdict(record, console)


def trace_text(record: Record) -> str:
    """A trace record (`attnswitch.trace/1`) as plain lines, layers gathered into ranges.

    First whether FlashAttention is off, then who asked for what, what ran by phase, and why faster
    backends were refused.

    Raises:
        InputError: `record` is no trace record.
    """
    return "\n".join(line.plain for line in _trace(record)) + "\n"


def print_trace(record: Record, console: Console) -> None:
    """Print the same on `console`, in colour where it has any.

    Raises:
        InputError: `record` is no trace record.
    """
    for line in _trace(record):
        margin = len(line.plain) - len(line.plain.lstrip())
        print_line(console, line[margin:], margin)
        if not line.plain:
            console.print()


def _trace(record: Record) -> Iterable[Text]:
    require_schema(record, TRACE)
    receipts = record.get("receipts") or []
    status = flash_status(receipts)
    first = Text("FlashAttention is ", style="bold").append(status.state, _state_style(status))
    yield first.append(": ").append(status.reason, "not bold").append(".", "not bold")
    yield from map(Text, request_lines(receipts))
    phase = None
    for group in kernel_groups(receipts):
        if group.phase != phase:
            phase = group.phase
            yield from (Text(""), Text(visible(phase), style="bold"))
        yield from _trace_lines(group)
    refused = refusal_lines(receipts)
    if refused:
        yield from (Text(""), Text("faster backends, and why they were refused", style="bold"))
        yield from (Text(f"  {line}", style="dim") for line in refused)


def _trace_lines(group: KernelGroup) -> Iterable[Text]:
    where = ", ".join(visible(sites) for sites in site_ranges(group.sites))
    line = Text(f"  {where}: ")
    line.append(f"{visible(group.backend)} ×{group.calls:,}", _FAMILY_STYLES.get(group.family, ""))
    yield line.append(f"  {_kernels(group)}").append(f"  ({visible(group.how_known)})", "dim")
    if group.off_plan:
        yield Text(f"    planned was {visible(group.planned)}", style="bold red")
    form = form_of(group)
    if form:
        yield Text(f"    {form}", style="dim")


def _kernels(group: KernelGroup) -> str:
    return ", ".join(visible(name) for name in group.executed) or "no kernel seen"


def _print_status(record: Record, console: Console) -> None:
    named = [(name_of(run), flash_status(run.get("receipts") or [])) for run in record["runs"]]
    width = max(len(name) for name, _ in named)
    state_width = max(len(status.state) for _, status in named)
    for name, status in named:
        state = f"{status.state.upper():<{state_width}}"
        line = Text("FlashAttention is ").append(state, style=_state_style(status))
        line.append(f" in {name:<{width}}  ").append(status.reason, style="dim")
        print_line(console, line)


def _state_style(status: FlashStatus) -> str:
    return _STATE_STYLES.get(status.state, "bold red")


def _print_run(run: Record, index: int, console: Console) -> None:
    origin = f", asked for by {one_line(run['source'], 60)}" if run.get("source") else ""
    part = "baseline" if index == 0 else "candidate"
    print_line(console, Text(name_of(run), style="bold").append(f"  ({part}{origin})", style="dim"))
    print_line(console, Text(visible(run.get("answer") or "(no answer)"), style="italic"), _INDENT)
    groups = kernel_groups(run.get("receipts") or [])
    width = max((len(_place(group)) for group in groups), default=0)
    for group in groups:
        _print_group(group, width, console)
    seconds = run.get("seconds") or {}
    print_line(
        console,
        Text(f"prefill {seconds_text(seconds.get('prefill'))}")
        .append(f" · {seconds_text(seconds.get('decode_per_token'))} per decoded token")
        .append(f" · peak memory {bytes_text(run.get('peak_bytes'))}"),
        _INDENT,
    )


def _place(group: KernelGroup) -> str:
    return f"{one_line(group.role, 24)} · {one_line(group.phase, 16)}"


def _print_group(group: KernelGroup, width: int, console: Console) -> None:
    ran = Text(f"{_place(group):<{width}}  ")
    ran.append(f"{one_line(group.backend)} ×{group.calls:,}", _FAMILY_STYLES.get(group.family, ""))
    if len(group.sites) not in (0, group.calls):
        ran.append(f" at {count_text(len(group.sites), 'site')}", style="dim")
    if group.off_plan:
        ran.append(f"  planned was {one_line(group.planned)}", style="bold red")
    kernels = Text(_kernels(group)).append(f"  ({group.how_known})", style="dim")
    if _INDENT + ran.cell_len + 2 + kernels.cell_len <= console.width:
        return print_line(console, ran.append("  ").append_text(kernels), _INDENT)
    print_line(console, ran, _INDENT)
    return print_line(console, kernels, _INDENT * 2)


def _print_ratios(record: Record, console: Console) -> None:
    ratios, runs = record.get("ratios"), record["runs"]
    if len(runs) < 2 or not ratios:
        return
    print_line(console, Text(f"{name_of(runs[1])} against {name_of(runs[0])}", style="bold"))
    unranked = same_kernels(runs[0].get("receipts") or [], runs[1].get("receipts") or [])
    for kind, (label, *_) in COSTS.items():
        words = "same kernels: not ranked" if unranked else ratio_words(kind, ratios.get(kind))
        line = f"{label:<17}  {ratio_with_interval(ratios.get(kind)):<18}  "
        print_line(console, Text(line).append(words, style="dim"), _INDENT)
    console.print()


def _print_verdict(record: Record, console: Console) -> None:
    verdict = record.get("verdict") or {}
    word, style = {True: ("AGREES", "bold green"), False: ("DOES NOT AGREE", "bold red")}.get(
        agrees(record),  # type: ignore[arg-type]
        ("NOT JUDGED", "bold yellow"),
    )
    explanation = visible(verdict.get("explanation") or "no explanation was recorded")
    body = Text.assemble((word, style), f"  {explanation}")
    labelled(console, "Verdict", body)
    labelled(console, "Tokens", Text(tokens_sentence(record)))
    labelled(console, "Checks", Text(checks_sentence(record)))
    for check in verdict.get("checks") or []:
        if not check.get("passes"):
            what = f"{one_line(check.get('what'), 60)} of {one_line(check.get('run'), 32)}"
            print_line(console, Text(f"{what} {check_words(check)}", style="red"), LABEL)
