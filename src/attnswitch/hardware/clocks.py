"""Clocks, driver and memory of this machine, where they can be read; for the record of a run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

_CPU = Path("/sys/devices/system/cpu")
_GPU_FIELDS = {
    "driver_version": "driver",
    "clocks.sm": "clock_mhz",
    "clocks.max.sm": "max_clock_mhz",
    "clocks.mem": "memory_clock_mhz",
    "power.limit": "power_limit_watts",
    "persistence_mode": "persistence_mode",
}


def clocks() -> dict[str, Any]:
    """What is readable of: memory, load, the processor's governor and clocks, GPUs' driver and
    clocks; what is not is left out."""
    told = {
        "memory_bytes": _memory_bytes(),
        "load": _load(),
        "governor": _first_line(_CPU / "cpu0/cpufreq/scaling_governor"),
        "max_clock_mhz": _mhz(_CPU / "cpu0/cpufreq/cpuinfo_max_freq"),
        "boost": _first_line(_CPU / "cpufreq/boost"),
        "clock_mhz": _cpu_clock(),
        "gpus": _gpus(),
    }
    return {name: value for name, value in told.items() if value not in (None, [], "")}


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _mhz(path: Path) -> float | None:
    text = _first_line(path)
    return int(text) / 1000 if text and text.isdigit() else None


def _cpu_clock() -> float | None:
    """The first core's clock as /proc/cpuinfo gives it, in MHz."""
    for line in (_first_line(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("cpu MHz"):
            return float(line.partition(":")[2])
    return None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _load() -> float | None:
    """Processes that wanted a core in the last minute, on average."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _gpus() -> list[dict[str, str]]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return [
        dict(zip(_GPU_FIELDS.values(), row, strict=True))
        for row in rows
        if len(row) == len(_GPU_FIELDS)
    ]
