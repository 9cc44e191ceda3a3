"""What scenarios of imports share: a request in force without the rest of the switch."""

from __future__ import annotations

from pathlib import Path

from .nursery import run

PRELUDE = """
import sys, torch, attnswitch
from attnswitch import intent
from attnswitch.seams import package
from attnswitch.types import Choice
def hold(backend):
    intent.push_process(Choice(backend, backend, "a test"))
    package.hold()
def release():
    package.release()
    intent.remove_process(intent.of_process())
q = torch.randn(1, 3, 2, 8)
def missing(name):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        return error.name == name.partition(".")[0]
    return False
"""


def run_switched(code: str, *folders: Path) -> str:
    """Run `code` after the prelude in a clean Python; its last line of output."""
    return run(PRELUDE + code, *folders)
