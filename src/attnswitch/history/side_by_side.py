"""An old commit against the code of now, measured in turn, in fresh processes again and again.

Each pair of processes gives one figure a row: the median over its rounds of the logarithm of new
over old, the two samples of a round taken one right after the other. Processes differ by their
memory layout though they run the same code; so what counts is how many pairs agree, and new pairs
are started until the answer is clear.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnswitch.bench.control import NAME as CONTROL
from attnswitch.errors import UnavailableError
from attnswitch.history.findings import ALPHA, Check, Evidence, Finding, paired_ratio
from attnswitch.history.permutation import sign_flips

Tell = Callable[[str], None]
Place = tuple[int, str, str]  # number of the workload, request, clock
Rounds = list[tuple[float, float]]  # old and new, of each round

WORKER = Path(__file__).with_name("worker.py")
# Numbers of pairs at which the answer is looked for; each look has its share of the false alarms.
LEAST_ROUNDS, MOST_ROUNDS = 3, 400
LOOKS = (10, 14, 20, 28, 40)


@dataclass(frozen=True)
class Side:
    """One version: the package folder of its attnswitch, and folders for PYTHONPATH before it."""

    name: str
    package: Path
    path: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Question:
    """What is measured on both sides, and for how long.

    `seconds` of sampling for each workload in each pair of processes; at most `most` pairs.
    `tolerance` and `detect` as for `checking.check`.
    """

    workloads: Sequence[dict[str, Any]]
    requests: Sequence[str]
    tolerance: float = 0.01
    detect: float = 0.05
    seconds: float = 4.0
    most: int = LOOKS[-1]
    threads: int = 1
    trust_remote_code: bool = False


@dataclass
class Taken:
    """What was measured: for each pair of processes and place the rounds of both sides.

    `notes` say where the sides did not run the same kernels.
    """

    pairs: list[dict[Place, Rounds]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> list[dict[str, Any]]:
        """Every sample: a list entry for each pair of processes."""
        return [
            {"rows": [{"workload": number, "request": request, "by": clock,
                       "old_new": [list(r) for r in rounds]}
                      for (number, request, clock), rounds in pair.items()]}
            for pair in self.pairs
        ]  # fmt: skip

    def figures(self, request: str | None = None) -> dict[Place, list[float]]:
        """{place: a figure for each pair}, for the places that every pair has."""
        places = set.intersection(*(set(pair) for pair in self.pairs)) if self.pairs else set()
        return {
            place: [_figure(pair[place]) for pair in self.pairs]
            for place in sorted(places)
            if (place[1] == CONTROL) == (request == CONTROL)
        }


def _figure(rounds: Sequence[tuple[float, float]]) -> float:
    """Processor time may be counted in steps too coarse for a round: such rounds tell nothing."""
    told = [math.log(new / old) for old, new in rounds if old > 0 and new > 0]
    return statistics.median(told) if told else 0.0


def compare_sides(
    old: Side, new: Side, question: Question, tell: Tell = lambda _: None, seed: int | None = None
) -> tuple[Check, Taken]:
    """Measure both sides in turn until it is clear for each row whether it became slower.

    Raises:
        UnavailableError: a side cannot run the workloads, or none of the requests runs on both.
    """
    generator = random.Random(seed)
    taken = Taken()
    looks = [n for n in LOOKS if n < question.most] + [question.most]
    start = time.monotonic()
    for number, upto in enumerate(looks):
        while len(taken.pairs) < upto:
            told = f"pair {len(taken.pairs) + 1} of processes, of at most {looks[-1]}"
            tell(told + _left(start, len(taken.pairs), upto))
            taken.pairs.append(_pair(old, new, question, generator, taken.notes))
        found = _findings(taken, question, ALPHA / len(looks))
        decided = all(one.judgement != "undecided" for one in found)
        if decided or number == len(looks) - 1:
            return _check(old, new, found, taken, question), taken
    raise AssertionError("the last look returns")


def _left(start: float, done: int, upto: int) -> str:
    if not done:
        return ""
    seconds = (time.monotonic() - start) / done * (upto - done)
    return f", {seconds:.0f} s until the next look at {upto}"


def _findings(taken: Taken, question: Question, alpha: float) -> list[Finding]:
    shift = math.log1p(question.tolerance)
    figures = taken.figures()
    if not figures:
        raise UnavailableError(
            "nothing that was asked for runs on both sides", reasons=taken.notes,
            remedy="Name a run whose requests both can run: --run",
        )  # fmt: skip
    chances = sign_flips({place: [v - shift for v in vs] for place, vs in figures.items()})
    evidence: dict[tuple[int, str], dict[str, Evidence]] = {}
    for (number, request, clock), values in figures.items():
        one = Evidence(paired_ratio(values), chances[number, request, clock])
        evidence.setdefault((number, request), {})[clock] = one
    pairs = len(taken.pairs), len(taken.pairs)
    return [
        Finding.of(question.workloads[number], request, told, pairs, alpha=alpha,
                   tolerance=question.tolerance, detect=question.detect)
        for (number, request), told in evidence.items()
    ]  # fmt: skip


def _check(old: Side, new: Side, found: list[Finding], taken: Taken, question: Question) -> Check:
    clocks = [
        values for (_, _, clock), values in taken.figures(CONTROL).items() if clock == "clock"
    ]
    controls = [statistics.median(values) for values in zip(*clocks, strict=True)]
    settings = {"tolerance": question.tolerance, "detect": question.detect, "alpha": ALPHA,
                "pairs": float(len(taken.pairs))}  # fmt: skip
    control = paired_ratio(controls) if controls else None
    return Check(old.name, new.name, found, control, settings, taken.notes)


def _pair(
    old: Side, new: Side, question: Question, generator: random.Random, notes: list[str]
) -> dict[Place, Rounds]:
    """Two fresh processes, all workloads in turn; the rounds of each place."""
    with ExitStack() as stack:
        started: dict[int, Process] = {}
        for which in _order(generator):
            side = (old, new)[which]
            started[which] = stack.enter_context(Process(side, question.threads))
        two = started[0], started[1]
        for process in two:
            process.answer()
        rounds: dict[Place, Rounds] = {}
        for number in range(len(question.workloads)):
            rounds |= _rounds(two, number, question, generator, notes)
        return rounds


def _order(generator: random.Random) -> tuple[int, int]:
    return (0, 1) if generator.random() < 0.5 else (1, 0)


def _rounds(
    two: tuple[Process, Process], number: int, question: Question, generator: random.Random,
    notes: list[str],
) -> dict[Place, Rounds]:  # fmt: skip
    prepare = {"do": "prepare", "workload": question.workloads[number],
               "requests": list(question.requests),
               "trust_remote_code": question.trust_remote_code}  # fmt: skip
    answers = [process.answer_to(prepare) for process in two]
    ran = [answer["ran"] for answer in answers]
    words = [word for word in ran[0] if word in ran[1]]
    _note_refusals([answer["refused"] for answer in answers], notes)
    _note_kernels(ran, words, notes)
    found: dict[Place, Rounds] = {}
    stop = time.monotonic() + question.seconds
    count = 0
    while count < LEAST_ROUNDS or (time.monotonic() < stop and count < MOST_ROUNDS):
        for word in words:
            told: dict[int, dict[str, float]] = {}
            for which in _order(generator):
                told[which] = two[which].answer_to({"do": "time", "request": word})
            for clock in told[0]:
                rounds = found.setdefault((number, word, clock), [])
                rounds.append((told[0][clock], told[1][clock]))
        count += 1
    return found


def _note_refusals(refused: list[dict[str, list[str]]], notes: list[str]) -> None:
    """A request that one side cannot run has no row: that is said."""
    for word in dict.fromkeys([*refused[0], *refused[1]]):
        sides = [name for name, one in zip(("old", "new"), refused, strict=True) if word in one]
        reasons = next(one[word] for one in refused if word in one)
        where = "neither code" if len(sides) == 2 else f"the {sides[0]} code"
        verb = "runs in" if len(sides) == 2 else "does not run in"
        note = f"{word} {verb} {where}: {'; '.join(reasons)}"
        if note not in notes:
            notes.append(note)


def _note_kernels(ran: list[dict[str, list[str]]], words: list[str], notes: list[str]) -> None:
    for word in words:
        one, other = (", ".join(side[word]) for side in ran)
        note = f"{word} ran {one} in the old code and {other} in the new"
        if one != other and note not in notes:
            notes.append(note)


class Process:
    """A worker of one side."""

    def __init__(self, side: Side, threads: int):
        self._side = side
        path = [*map(str, side.path), str(side.package.parent)]
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  (see __exit__)
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), str(side.package), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env=_environment(path),
        )  # fmt: skip

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._errors.close()

    def answer_to(self, what: dict[str, Any]) -> dict[str, Any]:
        """Ask and wait for the answer."""
        self.ask(what)
        return self.answer()

    def ask(self, what: dict[str, Any]) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `answer` says why

    def answer(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            UnavailableError: the process ended, or could not do what it was asked.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["it said nothing"])[-1]
            raise UnavailableError(f"{self._side.name} cannot be measured", reasons=[last])
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            raise UnavailableError(
                f"{self._side.name} cannot be measured", reasons=[str(told["error"])]
            )
        return told


def _environment(path: Sequence[str]) -> dict[str, str]:
    import os

    kept = {k: v for k, v in os.environ.items() if not k.startswith("ATTNSWITCH")}
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "KINETO_LOG_LEVEL": "99"}
