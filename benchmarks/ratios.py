"""What the benchmarks of ratios share: their options, a line for each ratio, the record."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from attnswitch.environment import version_of


def parser(
    module_doc: str | None, layers: int | None = None, dtype: str = "bfloat16"
) -> argparse.ArgumentParser:
    """--layers, --dtype, --threads and --json, for the geometry of `onevision.py`."""
    found = argparse.ArgumentParser(description=(module_doc or "").splitlines()[0])
    found.add_argument("--layers", type=int, default=layers,
                       help=f"layers of tower and decoder; default: {layers or 'all'}")  # fmt: skip
    found.add_argument("--dtype", default=dtype, choices=("bfloat16", "float32"))
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--json", type=Path, metavar="FILE", help="write raw samples and ratios")
    return found


def is_missed(name: str, ratio: dict[str, float], target: float) -> bool:
    """Print a ratio {median, low, high}; True where its whole interval lies above the target."""
    missed = ratio["low"] > target
    verdict = "  above the target" if missed else ""
    print(
        f"{name:8} {ratio['median']:.3f} × [{ratio['low']:.3f}, {ratio['high']:.3f}]{verdict}",
        flush=True,
    )
    return missed


def keep(record: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Write the record with how it was measured, if --json asks for it."""
    if arguments.json is None:
        return
    how = {name: getattr(arguments, name) for name in ("threads", "layers", "dtype")}
    text = json.dumps({**record, "torch": version_of("torch"), **how}, indent=2)
    arguments.json.write_text(text + "\n", encoding="utf-8")
