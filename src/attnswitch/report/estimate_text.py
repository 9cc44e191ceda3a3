"""An estimate (`attnswitch.estimate/1`) as text: what fits, what it consists of, FLOPs and time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnswitch.report.lines import print_line
from attnswitch.report.quantities import bytes_text, seconds_text, significant
from attnswitch.report.record_schema import ESTIMATE, require_schema
from attnswitch.report.safe_text import one_line

Record = dict[str, Any]
_FITS = {"yes": "green", "tight": "yellow", "no": "red"}
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
# Parts of a peak that are shown; smaller ones are summed up.
_SHOWN_PARTS = 5


def estimate_text(record: Record, console: Console) -> None:
    """Print an estimate.

    Raises:
        InputError: `record` is no estimate.
    """
    require_schema(record, ESTIMATE)
    for line in heading_lines(record):
        print_line(console, Text(line))
    for note in record["notes"]:
        print_line(console, Text(f"Note: {one_line(note, 200)}.", style="yellow"))
    for refused in record["refused"]:
        reasons = one_line("; ".join(refused["reasons"]), 200)
        print_line(console, Text(f"Not {refused['backend']}: {reasons}.", style="dim"))
    if record["model"]:
        _print_model(record, console)
    if record["limits"]:
        _print_limits(record, console)
    _print_attention(record, console)
    if record.get("check"):
        _print_check(record["check"], console)


def heading_lines(record: Record) -> Iterator[str]:
    """What the estimate is of, in two or three lines."""
    machine, scenario, sample = record["machine"], record["scenario"], record["sample"]
    sizes = " and ".join(bytes_text(size) for size in machine["memory_bytes"])
    where = one_line(machine["title"]) + (f" with {sizes}" if sizes else "")
    yield f"{one_line(record['geometry']['name'])} in {scenario['dtype']} on {where}"
    training = scenario["training"]
    if training is None:
        new = scenario["new_tokens"]
        yield f"inference, batch {scenario['batch']}: {sample_words(sample)}" + (
            f", then {new:,} new ones" if new else ""
        )
    else:
        checkpointing = "with" if training["checkpointing"] else "without"
        yield (
            f"a training step ({training['trained']}, {training['optimizer']}, {checkpointing} "
            f"gradient checkpointing), batch {scenario['batch']}: {sample_words(sample)}"
        )
    if machine["memory_bytes"] and machine["reserve_bytes"]:
        yield f"{bytes_text(machine['reserve_bytes'])} set aside for context and libraries"


def sample_words(sample: Record) -> str:
    """Such as `2,404 tokens, of them 2,340 for a picture of 1024×768 in 5 tiles`."""
    total = f"{sample['tokens']:,} tokens"
    if not sample["image_tokens"]:
        return total
    of_them = f"{total}, of them {sample['image_tokens']:,} for "
    if sample["frames"]:
        return of_them + f"a video of {sample['frames']} frames"
    high, wide = sample["image_size"]
    noun = "a picture" if sample["images"] == 1 else f"{sample['images']} pictures"
    tiles = "1 tile" if sample["tiles"] == 1 else f"{sample['tiles']} tiles"
    return of_them + f"{noun} of {wide}×{high} in {tiles}"


def flops_text(count: float, unit: str = "FLOP") -> str:
    """Such as `1.53 TFLOP`."""
    for size, prefix in _PREFIXES:
        if count >= size:
            return f"{significant(count / size, 3)} {prefix}{unit}"
    return f"{count:.0f} {unit}"


def span_text(seconds: Record | None) -> str:
    """A range of time, `1.2 ms to 4.8 ms`; a dash where there is none."""
    if seconds is None:
        return "–"
    return f"{seconds_text(seconds['low'])} to {seconds_text(seconds['high'])}"


def fits_text(fits: Record) -> Text:
    """Such as `yes, 9.3 GiB spare`."""
    spare = fits["spare_bytes"]
    words = f"{bytes_text(spare)} spare" if spare >= 0 else f"{bytes_text(-spare)} short"
    return Text(f"{fits['answer']}, {words}", style=_FITS[fits["answer"]])


def limit_text(limit: Record) -> str:
    """The most that fits; a plus where more would fit than there can be."""
    if not limit["fits"]:
        return "none"
    return f"{limit['fits']:,}" + ("" if limit["fails"] else " (all)")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _print_model(record: Record, console: Console) -> None:
    console.print()
    phases = [phase["phase"] for phase in record["model"][0]["phases"]]
    sizes = record["machine"]["memory_bytes"]
    fit_columns = [f"fits {bytes_text(size)}?" for size in sizes]
    table = _table("Peak memory", *phases, *fit_columns)
    for row in record["model"]:
        peaks = [bytes_text(phase["peak_bytes"]) for phase in row["phases"]]
        table.add_row(row["backend"], *peaks, *map(fits_text, row["fits"]))
    console.print(table)
    console.print()
    for row in record["model"]:
        highest = max(row["phases"], key=lambda phase: phase["peak_bytes"])
        line = Text(f"{row['backend']:<10}", style="bold")
        line.append(f"{parts_text(highest['parts'])}", style="dim")
        print_line(console, line)
    if any(phase["seconds"] for row in record["model"] for phase in row["phases"]):
        console.print()
        table = _table("Time", *phases)
        for row in record["model"]:
            table.add_row(row["backend"], *(span_text(phase["seconds"]) for phase in row["phases"]))
        console.print(table)


def parts_text(parts: dict[str, int]) -> str:
    """The largest parts of a peak, and the rest together."""
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    words = [f"{name} {bytes_text(count)}" for name, count in ordered[:_SHOWN_PARTS]]
    rest = sum(count for _, count in ordered[_SHOWN_PARTS:])
    return " + ".join([*words, *([f"{bytes_text(rest)} more"] if rest else [])])


def _print_limits(record: Record, console: Console) -> None:
    for size in record["machine"]["memory_bytes"]:
        console.print()
        table = _table(f"The most in {bytes_text(size)}", "tokens", "batch")
        for row in record["limits"]:
            if row["memory_bytes"] == size:
                table.add_row(
                    row["backend"], limit_text(row["longest_tokens"]),
                    limit_text(row["largest_batch"]),
                )  # fmt: skip
        console.print(table)


def _print_attention(record: Record, console: Console) -> None:
    for group in record["attention"]:
        console.print()
        heads = f"{group['heads']}" + (
            f" ({group['kv_heads']})" if group["kv_heads"] != group["heads"] else ""
        )
        backward = ", forward and backward" if group["backward"] else ""
        print_line(console, Text(
            f"Attention, {group['role'].replace('_', ' ')} · {group['phase']}: {group['calls']:,} "
            f"calls of {group['batch']} × {heads} heads × {group['q_tokens']:,} rows × "
            f"{group['kv_tokens']:,} keys × {group['head_dim']}, {group['mask']}{backward}"
        ))  # fmt: skip
        table = _table("", "FLOPs needed", "counted", "bytes moved", "peak a call", "kept", "time")
        for name, found in group["backends"].items():
            flops = found["flops"]
            table.add_row(
                name, flops_text(flops["needed"]), flops_text(flops["counted"]),
                bytes_text(found["bytes_moved"]), bytes_text(found["peak_bytes"]),
                bytes_text(found["kept_bytes"]) if found["kept_bytes"] else "–",
                span_text(found["seconds"]),
            )  # fmt: skip
        console.print(table)


def _print_check(check: Record, console: Console) -> None:
    console.print()
    table = _table("Measured here", "phase", "estimated", "measured", "estimated/measured")
    for row in check["rows"]:
        table.add_row(
            row["backend"], row["phase"], bytes_text(row["estimated_bytes"]),
            bytes_text(row["measured_bytes"]), f"{row['ratio']:.3f}",
        )  # fmt: skip
    console.print(table)
    words = "within" if check["agrees"] else "NOT within"
    style = "green" if check["agrees"] else "bold red"
    print_line(console, Text(f"Peak memory is {words} 10 % of the measured.", style=style))
