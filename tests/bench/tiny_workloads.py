"""Workloads of milliseconds: the built-in model's attention over a few tokens."""

from __future__ import annotations

import os
import signal
from typing import Any

from attnswitch.bench import cell
from attnswitch.bench.workload import Workload
from attnswitch.switch import as_request


def tiny(phase: str = "prefill", tokens: int = 12, **more: Any) -> Workload:
    told: dict[str, Any] = {
        "subject": "demo", "kind": "geometry", "part": "attention", "phase": phase,
        "tokens": tokens, "batch": 1, "dtype": "float32", "device": "cpu",
        "size": {"images": 0, "text_tokens": tokens},
    }  # fmt: skip
    return Workload(**{**told, **more})


def stopped_at(tokens: int) -> Any:
    """`running.measure`, in which a user presses Ctrl-C at the workload of so many tokens."""

    def measure(ready: Any, *more: Any) -> Any:
        if ready.workload.tokens == tokens:
            if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background job
                signal.signal(signal.SIGINT, signal.default_int_handler)
            os.kill(os.getpid(), signal.SIGINT)
        return cell.measure(ready, *more)

    return measure


def requests(*words: str) -> list[Any]:
    return [as_request(word, "--backends") for word in words]
