"""The measured rows as a table and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

INTRODUCTION = """\
# Attention alone: `blockwise` against FlashAttention and others

Written by `python benchmarks/attention.py`; raw samples in `attention.json`. "÷ X" is the time of
`blockwise` over the time of X, the median of interleaved pairs with its 95 % bootstrap interval:
below 1 `blockwise` is faster. {threads} threads, {cpu}, torch {torch}. A dash: not run, with the
reason in the JSON. Then peak memory of a call beyond its inputs, and errors against float64.

"""


def write_page(found: dict[str, Any], path: Path) -> None:
    """Write everything that was found as one page of markdown."""
    with path.open("w", encoding="utf-8") as file:
        file.write(INTRODUCTION.format_map(found["environment"]))
        write_table(found["rows"], file, found["memory"], found["accuracy"])


def write_table(
    rows: Sequence[dict[str, Any]],
    file: TextIO,
    memory: Sequence[dict[str, Any]] = (),
    accuracy: Sequence[dict[str, Any]] = (),
) -> None:
    """Write markdown tables; ratios are blockwise over the other, with their 95 % interval."""
    if rows:
        others = list(dict.fromkeys(name for row in rows for name in row["blockwise_over"]))
        _line(file, "case", "tokens", "mask", "dtype", "pass", *(f"÷ {name}" for name in others))
        _line(file, *["---"] * (5 + len(others)))
        for row in rows:
            batch = f" ×{row['batch']}" if row["batch"] > 1 else ""
            ratios = (_ratio(row["blockwise_over"].get(name)) for name in others)
            place = (f"{row['case']} {row['heads']}{batch}", row["tokens"], row["mask"])
            _line(file, *place, row["dtype"], row["pass"], *ratios)
        file.write("\n")
    if memory:
        _line(
            file,
            "dtype",
            "tokens",
            "flash, MiB",
            "blockwise, MiB",
            "÷ flash",
            "line's R²",
            "∝ tokens^",
        )
        _line(file, *["---"] * 7)
    for row in memory:
        peaks = row["peak_bytes"]
        for index, tokens in enumerate(row["tokens"]):
            mebibytes = (f"{peaks[name][index] / 2**20:.1f}" for name in ("flash", "blockwise"))
            fits = (f"{row['line']['r_squared']:.3f}", f"{row['grows_with_tokens_to_the']:.2f}")
            _line(file, row["dtype"], tokens, *mebibytes, f"{row['over_flash'][index]:.2f}", *fits)
    if accuracy:
        file.write("\n")
        heads = ("largest ÷ flash", "rms ÷ flash", "eager largest ÷ flash")
        _line(file, "dtype", "logit scale", *heads)
        _line(file, *["---"] * 5)
    for row in accuracy:
        if "errors" not in row:
            continue
        errors, over = row["errors"], row["over_flash"]
        eager = errors["eager"]["largest"] / errors["flash"]["largest"]
        numbers = (f"{over['largest']:.3f}", f"{over['rms']:.3f}", f"{eager:.1f}")
        _line(file, row["dtype"], row["logit_scale"], *numbers)


def _line(file: TextIO, *cells: object) -> None:
    file.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")


def _ratio(value: dict[str, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value['median']:.2f} ({value['low']:.2f}–{value['high']:.2f})"


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw blockwise over flash, one bar a row with its interval."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    rows = [row for row in rows if "flash" in row["blockwise_over"]]
    labels = [f"{r['case']} {r['tokens']} {r['mask']} {r['dtype']} {r['pass']}" for r in rows]
    ratios = [row["blockwise_over"]["flash"] for row in rows]
    spread = [
        [ratio["median"] - ratio["low"] for ratio in ratios],
        [ratio["high"] - ratio["median"] for ratio in ratios],
    ]
    figure, axes = plt.subplots(figsize=(9, 0.28 * len(rows) + 1.2), layout="constrained")
    axes.barh(labels, [ratio["median"] for ratio in ratios], xerr=spread, color="#4c78a8")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("time of blockwise ÷ time of flash (below 1: blockwise is faster)")
    axes.tick_params(axis="y", labelsize=7)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
