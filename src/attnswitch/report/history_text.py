"""Lists of runs, comparisons of two, and checks, as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnswitch.report.lines import labelled, print_line
from attnswitch.report.quantities import count_text, is_number, ratio_text, significant
from attnswitch.report.safe_text import one_line
from attnswitch.report.sentences import ratio_with_interval

Record = dict[str, Any]
_STYLES = {"slower": "bold red", "not slower": "green", "undecided": "yellow"}


def runs_text(runs: Iterable[Record], console: Console) -> None:
    """Print a line for each run: {id, started, label, commit, dirty, subjects, phases, rows}."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("run", "label", "commit", "what", "phases"):
        table.add_column(name, overflow="fold", no_wrap=name in ("run", "commit"))
    table.add_column("rows", justify="right")
    for run in runs:
        commit = one_line(str(run["commit"])[:8]) + ("*" if run["dirty"] else "")
        table.add_row(
            Text(one_line(run["id"], 40)), Text(one_line(run["label"], 24)), Text(commit),
            Text(one_line(", ".join(run["subjects"]), 60)),
            Text(one_line(", ".join(run["phases"]), 40)), str(run["rows"]),
        )  # fmt: skip
    console.print(table)


def comparison_of_runs_text(record: Record, console: Console) -> None:
    """Print `attnswitch.run-comparison/1`."""
    for name in ("old", "new"):
        run = record[name]
        said = f"{run['id']}, {run['started'][:16]}"
        if run["label"]:
            said += f", {one_line(run['label'], 40)}"
        commit = (run.get("project") or {}).get("commit")
        labelled(console, name, Text(said + (f", {one_line(str(commit)[:12])}" if commit else "")))
    if not record["same_machine"]:
        labelled(console, "", Text("Not the same machine: the seconds say nothing of the code.",
                                   style="yellow"))  # fmt: skip
    held: dict[str, list[Record]] = {}
    for row in record["rows"]:
        held.setdefault(subject_text(row["workload"]), []).append(row)
    for name, rows in held.items():
        console.print()
        print_line(console, Text(name, style="bold"))
        console.print(_compared(rows))
    for name in ("only_old", "only_new"):
        if record[name]:
            side = name.removeprefix("only_")
            print_line(console, Text(f"{count_text(len(record[name]), 'row')} in the {side} run "
                                     "alone", style="dim"))  # fmt: skip


def _compared(rows: list[Record]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(("phase", "tokens", "request", "time", "control", "memory")):
        table.add_column(name, justify="left" if number in (0, 2) else "right", no_wrap=True)
    for row in rows:
        memory = row.get("peak_bytes")
        table.add_row(
            Text(one_line(row["workload"].get("phase"), 16)), _tokens(row["workload"]),
            Text(one_line(row["request"], 16)), ratio_with_interval(row["seconds"]),
            ratio_with_interval(row["control"]), ratio_text(memory) if is_number(memory) else "",
        )  # fmt: skip
    return table


def check_text(record: Record, console: Console) -> None:
    """Print `attnswitch.check/1`, the slower rows first."""
    labelled(console, "old", Text(one_line(record["old"], 120)))
    labelled(console, "new", Text(one_line(record["new"], 120)))
    console.print()
    findings = sorted(record["findings"], key=lambda one: list(_STYLES).index(one["judgement"]))
    for one in findings:
        line = Text(f"{one['judgement']:<11}", style=_STYLES[one["judgement"]])
        line.append(f"{ratio_with_interval(one['ratio'])}  ", style="bold")
        if one["by"] != "clock":
            line.append("in processor time  ", style="yellow")
        line.append(f"{one_line(one['request'], 24)}, {workload_text(one['workload'])}")
        print_line(console, line)
    console.print()
    if record["control"]:
        labelled(console, "Machine", Text(
            f"its own speed, on work without attention: {ratio_with_interval(record['control'])}"
        ))  # fmt: skip
    for note in record["notes"]:
        labelled(console, "Changed", Text(one_line(note, 160)))
    labelled(console, "Answer", Text(answer(record), style="bold"))


def answer(record: Record) -> str:
    """The answer in a sentence."""
    slower = [one for one in record["findings"] if one["judgement"] == "slower"]
    open_ones = [one for one in record["findings"] if one["judgement"] == "undecided"]
    settings = record["settings"]
    detect, chance = (f"{100 * settings[n]:g} %" for n in ("detect", "alpha"))
    if slower:
        return (
            f"SLOWER: {count_text(len(slower), 'row')} of {len(record['findings'])}. Unchanged "
            f"code looks so in at most {chance} of checks."
        )
    if open_ones:
        widest = max(one["ratio"]["high"] for one in open_ones) - 1
        return (
            f"Nothing is shown to be slower. {count_text(len(open_ones), 'row')} undecided: the "
            f"noise hides up to {significant(100 * widest, 2)} %. More processes decide it."
        )
    return f"NOT SLOWER: a slowdown by {detect} is ruled out in every row."


def subject_text(work: Record) -> str:
    """What was measured, without phase and length."""
    alone = ", attention alone" if work.get("part") == "attention" else ""
    batch = f", batch {work.get('batch')}" if work.get("batch") != 1 else ""
    return one_line(f"{work.get('subject')}{alone}, {work.get('dtype')}{batch}", 100)


def workload_text(work: Record) -> str:
    """A workload in short."""
    told = f"{work.get('phase')} of {subject_text(work)}, {_tokens(work)} tokens"
    return one_line(told, 120)


def _tokens(work: Record) -> str:
    tokens = work.get("tokens")
    return f"{tokens:,}" if isinstance(tokens, int) else "?"
