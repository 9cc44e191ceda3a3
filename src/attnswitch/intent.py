"""What is asked right now: the requests in force in this process, and the choice of each module.

The switch and the arming code write here, the seams and the trace read. It holds plain data, so
that the trace can compare what was asked with what it saw without importing the switch.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from attnswitch.types import AttentionCall, Choice, RuledChoice

MODULE_ATTRIBUTE = "_attnswitch_choice"
# The range in a profile where the switch tries something out: not the program's own attention.
TRIAL = "attnswitch.trial"

_process: list[Choice] = []
_barring_plans: list[object] = []
_lock = threading.Lock()


class Decisions:
    """What rules decided while somebody noted it: each choice once, in the order of the calls."""

    __slots__ = ("decided",)

    def __init__(self) -> None:
        self.decided: tuple[Choice, ...] = ()


class _PerThread(threading.local):
    """Choices pushed by modules that reach attention through the operator, one stack a thread."""

    def __init__(self) -> None:
        self.stack: list[Choice] = []
        self.modules: list[Any] = []
        self.notes: list[Decisions] = []


_thread = _PerThread()


def push_process(choice: Choice) -> None:
    """Put a request in force for the whole process, over those already there."""
    with _lock:
        _process.append(choice)


def remove_process(choice: Choice) -> None:
    """Take out the newest occurrence of `choice`; other requests keep their order."""
    with _lock:
        for position in range(len(_process) - 1, -1, -1):
            if _process[position] is choice:
                del _process[position]
                return


def of_process() -> Choice | None:
    """The request in force for the process, or None."""
    return _process[-1] if _process else None


def push_thread(choice: Choice, module: Any = None) -> None:
    """Put a module's choice in force on this thread."""
    _thread.stack.append(choice)
    _thread.modules.append(module)


def pop_thread() -> None:
    """End the newest module choice on this thread."""
    _thread.stack.pop()
    _thread.modules.pop()


def module_of_call() -> Any:
    """The module whose choice is in force on this thread, or None."""
    return _thread.modules[-1] if _thread.modules else None


def for_call(choice: Choice, call: AttentionCall) -> Choice:
    """What a choice means for one call: itself, or what its rules decide."""
    if not isinstance(choice, RuledChoice):
        return choice
    decided = choice.decide(call)
    for note in _thread.notes:
        if not any(one is decided for one in note.decided) and not _compiling():
            note.decided = (*note.decided, decided)
    return decided


def _compiling() -> bool:
    torch: Any = sys.modules["torch"]
    return bool(torch.compiler.is_compiling())


def note_decisions() -> Decisions:
    """Note what rules decide on this thread from now on, until `take_decisions` of this note.

    Several may note at a time: receipts of the process, and a trace of a model in it.
    """
    note = Decisions()
    _thread.notes.append(note)
    return note


def take_decisions(note: Decisions | None) -> tuple[Choice, ...]:
    """What was noted, nothing without a note; ends the note, on the thread that began it."""
    if note is None:
        return ()
    _thread.notes[:] = [other for other in _thread.notes if other is not note]
    return note.decided


def of_call() -> Choice | None:
    """The choice for a call made now on this thread: a module's, else the process's."""
    if _thread.stack:
        return _thread.stack[-1]
    return _process[-1] if _process else None


def of_module(module: Any) -> Choice | None:
    """The choice that `apply` gave this module, or None."""
    return module.__dict__.get(MODULE_ATTRIBUTE)


def begin_barring_plan(plan: object) -> None:
    """A model was switched by `apply` to backends that are not FlashAttention."""
    _barring_plans.append(plan)


def end_barring_plan(plan: object) -> None:
    """The plan was undone."""
    _barring_plans[:] = [other for other in _barring_plans if other is not plan]


def refusion_barred() -> bool:
    """Whether hand-written attention that is compiled now must stay as it is written.

    One switched model is enough: which model a graph belongs to is not known when it is compiled.
    """
    choice = of_call()
    return bool(_barring_plans) or (choice is not None and choice.bars_flash)
