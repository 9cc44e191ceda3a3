"""An estimate (`attnswitch.estimate/1`) as text: what fits, what it consists of, FLOPs and time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnswitch.report.lines import print_line
from attnswitch.report.quantities import bytes_text, memory_text, seconds_text, significant
from attnswitch.report.record_schema import ESTIMATE, require_schema
from attnswitch.report.safe_text import one_line

Record = dict[str, Any]
_FITS = {"yes": "green", "tight": "yellow", "no": "red"}
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
# Parts of a peak that are shown; smaller ones are summed up.
_SHOWN_PARTS = 6
CONTEXT = "the whole context"


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
    sizes = " and ".join(map(memory_text, machine["memory_bytes"]))
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
        yield f"{memory_text(machine['reserve_bytes'])} of it set aside for context and libraries"


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
    """A range of time, `1.2–4.8 ms`; a dash where there is none."""
    if seconds is None:
        return "–"
    low, high = seconds_text(seconds["low"]), seconds_text(seconds["high"])
    same_unit = low.split()[-1] == high.split()[-1] and len(low.split()) == 2
    return f"{low.split()[0] if same_unit else low}–{high}"


def answer_words(fits: Record) -> str:
    """Such as `yes, 9.3 GiB spare`."""
    spare = fits["spare_bytes"]
    words = f"{bytes_text(spare)} spare" if spare >= 0 else f"{bytes_text(-spare)} short"
    return f"{fits['answer']}, {words}"


def limit_text(limit: Record, whole: str) -> str:
    """The most that fits, and whether that is all there can be."""
    if not limit["fits"]:
        return "none"
    return f"{limit['fits']:,}" + ("" if limit["fails"] else f", {whole}")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _print_model(record: Record, console: Console) -> None:
    phases = [phase["phase"] for phase in record["model"][0]["phases"]]
    sizes = record["machine"]["memory_bytes"]
    table = _table("Peak memory", *phases, *(f"fits {memory_text(size)}?" for size in sizes))
    for row in record["model"]:
        peaks = [bytes_text(phase["peak_bytes"]) for phase in row["phases"]]
        fits = [Text(answer_words(fit), style=_FITS[fit["answer"]]) for fit in row["fits"]]
        table.add_row(row["backend"], *peaks, *fits)
    console.print()
    console.print(table)
    console.print()
    console.print(_parts_table(record["model"]))
    if any(phase["seconds"] for row in record["model"] for phase in row["phases"]):
        table = _table("Time, from to", *phases)
        for row in record["model"]:
            table.add_row(row["backend"], *(span_text(phase["seconds"]) for phase in row["phases"]))
        console.print()
        console.print(table)


def _parts_table(rows: list[Record]) -> Table:
    """Parts of the highest peak, a column a backend; small ones are summed up."""
    peaks = {
        row["backend"]: max(row["phases"], key=lambda phase: phase["peak_bytes"])["parts"]
        for row in rows
    }
    largest: dict[str, int] = {}
    for parts in peaks.values():
        for name, count in parts.items():
            largest[name] = max(count, largest.get(name, 0))
    shown = sorted(largest, key=lambda name: -largest[name])[:_SHOWN_PARTS]
    table = _table("At the peak", *peaks)
    for name in shown:
        counts = (parts.get(name, 0) for parts in peaks.values())
        table.add_row(name, *(bytes_text(count) if count else "–" for count in counts))
    rest = [sum(c for n, c in parts.items() if n not in shown) for parts in peaks.values()]
    table.add_row("everything else", *map(bytes_text, rest))
    return table


def _print_limits(record: Record, console: Console) -> None:
    for size in record["machine"]["memory_bytes"]:
        console.print()
        table = _table(f"The most in {memory_text(size)}", "tokens", "batch")
        for row in record["limits"]:
            if row["memory_bytes"] == size:
                table.add_row(
                    row["backend"], limit_text(row["longest_tokens"], CONTEXT),
                    limit_text(row["largest_batch"], "or more"),
                )  # fmt: skip
        console.print(table)


def _print_attention(record: Record, console: Console) -> None:
    kept = record["scenario"]["training"] is not None
    seconds = record["roof"] is not None
    for group in record["attention"]:
        console.print()
        print_line(console, Text(f"Attention, {group_words(group)}"))
        names = ["FLOPs needed", "counted", "moved", "peak", *(["kept"] if kept else [])]
        table = _table("", *names, *(["time"] if seconds else []))
        for name, found in group["backends"].items():
            flops = found["flops"]
            cells = [
                flops_text(flops["needed"]), flops_text(flops["counted"]),
                bytes_text(found["bytes_moved"]), bytes_text(found["peak_bytes"]),
                *([bytes_text(found["kept_bytes"])] if kept else []),
                *([span_text(found["seconds"])] if seconds else []),
            ]  # fmt: skip
            table.add_row(name, *cells)
        console.print(table)


def group_words(group: Record) -> str:
    """Such as `vision tower · vision: 24 calls of 5 × 16 heads × 577 rows × 577 keys × 64`."""
    heads = f"{group['heads']}"
    if group["kv_heads"] != group["heads"]:
        heads += f" ({group['kv_heads']})"
    backward = ", forward and backward" if group["backward"] else ""
    return (
        f"{group['role'].replace('_', ' ')} · {group['phase']}: {group['calls']:,} calls of "
        f"{group['batch']} × {heads} heads × {group['q_tokens']:,} rows × "
        f"{group['kv_tokens']:,} keys × {group['head_dim']}, {group['mask']}{backward}"
    )


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
