"""Judge a run from what its processes noted: own failures of attnswitch, each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attnswitch.running import checkin
from attnswitch.running.checkin import Notes

OWN_FAILURE = 125


@dataclass(frozen=True)
class Outcome:
    """The status to return, and what to say about it (empty where there is nothing to say)."""

    status: int
    messages: tuple[str, ...] = ()


def judge(notes: Notes, status: int, *, required: str | None, receipt: Path | None) -> Outcome:
    """What a command that ended with `status` amounts to.

    A failure of attnswitch turns a success into 125; a command's own failure keeps its status,
    and what attnswitch has to say is said beside it. A switch that was refused is always 125,
    since the failure is ours whatever the program made of it.
    """
    messages: list[str] = []
    refused = notes.of(checkin.REFUSED)
    messages += [f"the switch could not be put in force: {text}" for text in refused]
    if not notes.count(checkin.ARMED) and not refused:
        messages.append(_nobody_armed(notes))
    tripped = notes.of(checkin.TRIPPED)
    if tripped:
        ending = "and the program went on" if status == 0 else f"and the command ended {status}"
        messages.append(f"a forbidden kernel was stopped {ending}: {tripped[0]}{_more(tripped)}")
    if required and notes.count(checkin.ARMED) and not notes.count(checkin.RAN):
        messages.append(f"--require {required}: no {required} attention kernel ran")
    messages += [f"not everything obeyed: {t}" for t in notes.of(checkin.DISOBEYED)]
    messages += [f"a receipt could not be written: {t}" for t in notes.of(checkin.UNWRITTEN)]
    told = notes.count(checkin.WRITTEN) or notes.count(checkin.UNWRITTEN)
    if receipt and notes.count(checkin.ARMED) and not told:
        messages.append(_no_receipt(receipt))
    ours = bool(refused) or (bool(messages) and status == 0)
    return Outcome(OWN_FAILURE if ours else status, tuple(messages))


def _more(texts: list[str]) -> str:
    return f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""


def _no_receipt(receipt: Path) -> str:
    return (
        f"no receipt was written to {receipt}: every process was killed or left by os._exit "
        "before its first attention call"
    )


def _nobody_armed(notes: Notes) -> str:
    started = notes.count(checkin.STARTED)
    if started:
        return (
            f"no process imported torch, so nothing was switched ({started} Python "
            f"{'process was' if started == 1 else 'processes were'} ready for it). If the work "
            "is done by another interpreter, install attnswitch there too"
        )
    return (
        "no Python process was reached, so nothing was switched. The command runs another "
        "interpreter or environment, or Python with -S, or attnswitch.pth is missing from its "
        "site-packages (an install by --target or PYTHONPATH does not count). Remedy: "
        "run `python -m pip install attnswitch` with the interpreter that runs the program"
    )
