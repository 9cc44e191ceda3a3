"""Run one command as a child: pass signals on, and return its status as a shell does."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

# What is passed on to the child. SIGKILL and SIGSTOP cannot be.
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_FROM_KERNEL = 0x80  # Linux's SI_KERNEL: a key pressed at the terminal, which the child got too
_LOOK_SECONDS = 1.0


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command` to its end and return its status, 128 + n where signal n ended it.

    Raises:
        OSError: it could not be started.
    """
    if hasattr(signal, "sigtimedwait"):
        return _status(_run_and_wait_for_signals(command, environment))
    return _status(_run_with_handlers(command, environment))


def _status(code: int) -> int:
    return 128 - code if code < 0 else code


def _run_and_wait_for_signals(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Linux: wait for signals instead of handling them, which also tells where one came from."""
    forwarded = {getattr(signal, name) for name in FORWARDED}
    waited_for = forwarded | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        child = subprocess.Popen(command, env=dict(environment), preexec_fn=unblock)
        while child.poll() is None:
            got = signal.sigtimedwait(waited_for, _LOOK_SECONDS)
            if got and got.si_signo in forwarded and got.si_code != _FROM_KERNEL:
                child.send_signal(got.si_signo)
        return child.returncode
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_with_handlers(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Elsewhere: hand on what is addressed to us; Ctrl-C reaches the child by itself."""
    child = subprocess.Popen(command, env=dict(environment))

    def forward(number: int, _: Any) -> None:
        child.send_signal(number)

    previous: dict[int, Any] = {}
    for name in FORWARDED:
        number = getattr(signal, name, None)
        if number is not None:
            handler: Any = signal.SIG_IGN if name in ("SIGINT", "SIGQUIT") else forward
            previous[number] = signal.signal(number, handler)
    try:
        return child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
