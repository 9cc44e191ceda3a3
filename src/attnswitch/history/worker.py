"""A process that measures when it is told to, with its code of attnswitch, old or new.

Run as a file, not as a module: it is today's in both processes. What it measures is the code of the
folder that it is given; the rooms that build workloads and time them are today's, so that both
sides are measured by the same hand, and so is any module that the old code does not have yet.

    PYTHONPATH=…:PARENT_OF_PACKAGE python worker.py PACKAGE_FOLDER THREADS

It takes one JSON object a line on standard input and answers each with one on what was standard
output; everything that anything else prints goes to standard error.

    {"do": "prepare", "workload": {...}, "requests": [...], "trust_remote_code": false}
                                -> {"ran": {request: [backends]}, "refused": {request: [reasons]}}
    {"do": "time", "request": "flash"}              -> {"clock": 0.0123, "processor": 0.0241}
"""

from __future__ import annotations

import json
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

TODAY = Path(__file__).resolve().parent.parent
# Who builds what is measured, and who measures.
OURS = ("bench", "geometries", "history", "record", "hardware")


class Today(MetaPathFinder):
    """Finds modules of attnswitch in today's folder: those of some rooms, or of all."""

    def __init__(self, rooms: tuple[str, ...] | None):
        self._rooms = rooms

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of a module that is to come from here."""
        parts = name.split(".")
        if parts[0] != "attnswitch" or len(parts) < 2:
            return None
        if self._rooms is not None and parts[1] not in self._rooms:
            return None
        return PathFinder.find_spec(name, [str(TODAY.joinpath(*parts[1:-1]))])


def stand_on(package: Path) -> None:
    """Make `package` the attnswitch of this process, but for what is ours.

    It is found by PYTHONPATH, after the project's folders. The folder of this file goes: a module
    of the project's may be called as one of its modules.
    """
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [place for place in sys.path if os.path.realpath(place) != here]
    if package.resolve() != TODAY:
        sys.meta_path.insert(0, Today(OURS))
        sys.meta_path.append(Today(None))


class Worker:
    """One side: a workload made ready, and a sample of each request at a time."""

    def __init__(self) -> None:
        self._shop: Any = None
        self._device = "cpu"
        self._timed: dict[str, Any] = {}
        self._sums: dict[str, list[tuple[str, float]]] = {}

    def prepare(
        self, workload: dict[str, Any], requests: list[str], trust_remote_code: bool
    ) -> dict[str, Any]:
        """Build the workload and watch every request once; what ran, and what could not."""
        from attnswitch.bench.cell import Settings
        from attnswitch.bench.contender import Contender, watch
        from attnswitch.bench.control import NAME as CONTROL
        from attnswitch.bench.control import control_work
        from attnswitch.bench.timing import Timed
        from attnswitch.bench.workload import Workload
        from attnswitch.bench.workshop import Workshop
        from attnswitch.switch import as_request

        self._shop = self._shop or Workshop(trust_remote_code=trust_remote_code)
        ready = self._shop.ready(Workload.from_json(workload))
        self._timed, self._sums = {}, {}
        ran: dict[str, list[str]] = {CONTROL: []}
        refused: dict[str, list[str]] = {}
        for word in requests:
            found = watch(ready, as_request(word, "--backends"))
            if not isinstance(found, Contender):
                refused[word] = list(found)
                continue
            timed = found.timed(ready, Settings().shortest)
            self._timed |= timed
            self._sums[word] = [
                (n, piece.times) for n, piece in zip(timed, ready.pieces, strict=True)
            ]
            ran[word] = sorted({str(receipt.backend) for receipt in found.receipts})
        self._device = workload["device"]
        control = control_work(self._device)
        control()
        self._timed[CONTROL] = Timed(control)
        self._sums[CONTROL] = [(CONTROL, 1.0)]
        return {"ran": ran, "refused": refused}

    def time(self, request: str) -> dict[str, Any]:
        """One sample of a request that can run, or of the control."""
        from attnswitch.bench.timing import Stop, interleave, waits_for

        parts = self._sums[request]
        timed = {name: self._timed[name] for name, _ in parts}
        wait = waits_for(self._device)
        taken = interleave(timed, Stop(1, 1), warm_up=0, synchronize=wait)
        told = {"clock": taken.seconds}
        if self._device == "cpu":
            told["processor"] = taken.processor
        return {
            clock: sum(times * seconds[name][0] for name, times in parts)
            for clock, seconds in told.items()
        }


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stand_on(Path(sys.argv[1]))
    import torch

    torch.set_num_threads(int(sys.argv[2]))
    worker = Worker()
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    for line in sys.stdin:
        told = json.loads(line)
        try:
            if told["do"] == "prepare":
                answer = worker.prepare(
                    told["workload"], told["requests"], bool(told.get("trust_remote_code"))
                )
            else:
                answer = worker.time(told["request"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
