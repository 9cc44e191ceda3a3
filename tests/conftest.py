"""Shared by all tests: two threads, a quiet profiler, and no request left over from the shell."""

from __future__ import annotations

import os

# torch's profiler reads this when torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
for _name in ("ATTNSWITCH", "ATTNSWITCH_FORBID", "ATTNSWITCH_RECEIPT", "ATTNSWITCH_RECORD"):
    os.environ.pop(_name, None)
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest  # noqa: E402  (after the environment is set)
import torch  # noqa: E402

# With pytest-xdist each of two workers takes one core.
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(autouse=True)
def nothing_stays_behind():
    """Every test must leave the process as it found it: no request, no guard, no stand-in."""
    from attnswitch import backends, guard, intent
    from attnswitch.seams import interface

    yield
    left = {
        "requests in force": [c.requested for c in intent._process],
        "module choices on this thread": list(intent._thread.stack),
        "guard": guard.is_up(),
        "holders of the site seam": interface._holders,
    }
    intent._process.clear()
    intent._thread.stack.clear()
    while interface._holders:
        interface.release()
    guard.tripped.clear()
    for name in ("blockwise", "flash", "math", "reference", "yardstick"):
        backends.replace_backend(name, None)
    assert not any(left.values()), f"left behind: {left}"
