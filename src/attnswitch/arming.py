"""Arm this process from its environment, with no line of the program changed.

    ATTNSWITCH=<request>          what attention is to run
    ATTNSWITCH_FORBID=flash       FlashAttention raises instead of running
    ATTNSWITCH_REQUIRE=flash      other attention kernels raise instead of running
    ATTNSWITCH_RECEIPT=<file>     what ran is written there

Python runs one line of `attnswitch.pth` at every start; it imports this module only where one of
the variables is set. Nothing here may fail at that point (Python swallows an exception in a .pth
line, and the script would run unswitched; pip must stay usable), so all that can be wrong is
raised when torch is imported, at each attempt, and not as an ImportError, which programs like to
catch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attnswitch.running import checkin

REQUEST_VARIABLE = "ATTNSWITCH"
FORBID_VARIABLE = "ATTNSWITCH_FORBID"
REQUIRE_VARIABLE = "ATTNSWITCH_REQUIRE"
RECEIPT_VARIABLE = "ATTNSWITCH_RECEIPT"
RECEIPT_OWNER_VARIABLE = "ATTNSWITCH_RECEIPT_OWNER"

_armed = False


def arm_on_torch_import() -> None:
    """Put the environment's request in force as soon as this process imports torch."""
    from attnswitch.seams import torch_import

    checkin.note(checkin.STARTED)
    _make_paths_absolute()
    if RECEIPT_VARIABLE in os.environ:
        # The profiler writes a line to standard error at each start and stop otherwise; torch
        # reads this when it is imported.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    torch_import.watch(before=_check_or_note, after=_arm_or_note)


def arm() -> None:
    """Put the environment's request in force now; once a process.

    Raises:
        RequestError, PolicyError: a variable's value says nothing that can be asked for.
        UnavailableError: the request cannot be met here, or torch is too old.
    """
    global _armed
    if _armed:
        return
    check(os.environ)
    from attnswitch import guard
    from attnswitch.environment import require_torch
    from attnswitch.switch import as_request, put_in_force

    require_torch()
    guard.on_trip.append(_note_trip)
    word = os.environ.get(REQUEST_VARIABLE)
    if word is not None:
        put_in_force(as_request(word, REQUEST_VARIABLE, origin="environment"))
    _hold_to(os.environ.get(FORBID_VARIABLE), os.environ.get(REQUIRE_VARIABLE))
    receipt = os.environ.get(RECEIPT_VARIABLE)
    if receipt is not None:
        from attnswitch.tracing import process

        process.write_receipts_to(receipt, _at_each_call)
    _armed = True
    checkin.note(checkin.ARMED)


def _note_trip(trip: Any) -> None:
    checkin.note(checkin.TRIPPED, str(trip))


def _at_each_call(watch: Callable[..., Any]) -> None:
    """Let `watch` stand around every call of SDPA, and of a package that we answer for."""
    from attnswitch.seams import operator
    from attnswitch.seams.package.attention import run

    operator.install()
    operator.watch = run.watch = watch


def armed() -> bool:
    """Whether this process was armed from its environment."""
    return _armed


def check(variables: Mapping[str, str]) -> None:
    """Find out, without torch, whether the values say something that can be asked for.

    Raises:
        RequestError, PolicyError: one does not; the message names the variable.
    """
    from attnswitch.errors import RequestError
    from attnswitch.policy.families import check_family
    from attnswitch.switch import as_request

    if REQUEST_VARIABLE in variables:
        as_request(variables[REQUEST_VARIABLE], REQUEST_VARIABLE)
    for name in (FORBID_VARIABLE, REQUIRE_VARIABLE):
        if name in variables:
            check_family(variables[name], name)
    receipt = variables.get(RECEIPT_VARIABLE)
    if receipt is not None and (not receipt.strip() or os.path.isdir(receipt)):
        raise RequestError(f"{RECEIPT_VARIABLE} names a file, not {receipt!r}")


def _hold_to(forbidden: str | None, required: str | None) -> None:
    """For the life of the process; nothing takes it back."""
    if forbidden is None and required is None:
        return
    from attnswitch import guard
    from attnswitch.forbidding import forbid, require

    if forbidden is not None:
        forbid(forbidden, source=f"{FORBID_VARIABLE}={forbidden}").__enter__()
    if required is not None:
        guard.on_pass.append(_RanOnce())
        require(required, source=f"{REQUIRE_VARIABLE}={required}").__enter__()


class _RanOnce:
    """Tells the `attnswitch run` above, once a process, that a required kernel ran."""

    def __init__(self) -> None:
        self._told: int | None = None

    def __call__(self, operator: str, _: object) -> None:
        if self._told != os.getpid():
            self._told = os.getpid()
            checkin.note(checkin.RAN, operator)


def _check_or_note() -> None:
    _or_note(lambda: check(os.environ))


def _arm_or_note() -> None:
    _or_note(arm)


def _or_note(step: Callable[[], None]) -> None:
    try:
        step()
    except Exception as error:
        checkin.note(checkin.REFUSED, str(error))
        raise


def _make_paths_absolute() -> None:
    """Paths must mean the same in child processes that change folder."""
    word = os.environ.get(REQUEST_VARIABLE, "").strip()
    if "/" in word or word.lower().endswith((".yaml", ".yml", ".json")):
        os.environ[REQUEST_VARIABLE] = os.path.abspath(word)
    receipt = os.environ.get(RECEIPT_VARIABLE, "").strip()
    if receipt:
        os.environ[RECEIPT_VARIABLE] = os.path.abspath(receipt)


def _start() -> None:
    """What the .pth line runs; whatever goes wrong is kept for the moment torch is imported."""
    try:
        arm_on_torch_import()
    except Exception as error:
        _refuse_torch(error)


def _refuse_torch(error: Exception) -> None:
    """The program must not run unswitched in silence: its `import torch` raises."""
    from attnswitch.errors import UnavailableError
    from attnswitch.seams import torch_import

    checkin.note(checkin.REFUSED, repr(error))

    def refuse() -> None:
        raise UnavailableError("attnswitch could not arm this process", reasons=[repr(error)])

    torch_import.watch(before=refuse, after=refuse)
