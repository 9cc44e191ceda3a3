"""Peak memory told by the system: the resident set of a fresh process that runs one pass.

The cross-check of the allocator's own peak. It differs a little: pages are whole, pages that were
never written do not count, and what libraries allocate beside PyTorch does.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attnswitch.bench.workload import Workload
from attnswitch.errors import UnavailableError

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
# Writing this number there sets the high-water mark back to what is resident (proc(5)).
_RESET_PEAK = "5"


def resident_bytes(workload: Workload, request: str, *, trust_remote_code: bool = False) -> int:
    """How many bytes one pass adds to the resident set of a process that has it ready.

    Raises:
        UnavailableError: the system does not tell (it is read from /proc), or the process fails.
    """
    if workload.device != "cpu":
        raise UnavailableError(f"the resident set says nothing of memory on {workload.device}")
    if not _CLEAR.exists():
        raise UnavailableError("this system does not tell a process's peak (no /proc)")
    import torch

    told = {
        "workload": workload.to_json(), "request": request, "threads": torch.get_num_threads(),
        "trust_remote_code": trust_remote_code,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "attnswitch.bench.fresh"], input=json.dumps(told),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UnavailableError("the fresh process failed", reasons=[last])
    return int(json.loads(done.stdout.strip().splitlines()[-1])["resident_bytes"])


def _run_here(told: dict[str, Any]) -> int:
    import torch

    from attnswitch.bench.workshop import Workshop
    from attnswitch.switch import apply, as_request

    torch.set_num_threads(told["threads"])
    shop = Workshop(trust_remote_code=told["trust_remote_code"])
    ready = shop.ready(Workload.from_json(told["workload"]))
    with apply(ready.model, as_request(told["request"], "--backends")):
        return peak_resident_bytes(ready.call)


def peak_resident_bytes(call: Callable[[], object]) -> int:
    """How many bytes `call` adds at most to this process's resident set; Linux alone tells."""
    before = _settle()
    call()
    return _kib("VmHWM") * 1024 - before


def _settle() -> int:
    """Give freed memory back, set the high-water mark to what is left; returns that, in bytes."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    _CLEAR.write_text(_RESET_PEAK)
    return _kib("VmRSS") * 1024


def _kib(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise UnavailableError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"resident_bytes": _run_here(json.load(sys.stdin))}) + "\n")
