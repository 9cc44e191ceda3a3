"""From the options of `bench` to a grid, a run and a record."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from attnswitch.bench.cell import Settings
from attnswitch.bench.grid import Lengths, workloads
from attnswitch.bench.room import no_room
from attnswitch.bench.running import Grid, Outcome, Progress, run_grid
from attnswitch.bench.workload import Workload, phase_of_word
from attnswitch.bench.workshop import Workshop
from attnswitch.errors import InputError, ModelInputError
from attnswitch.geometries.geometry import Geometry
from attnswitch.policy.requests import Request
from attnswitch.record.entries import Row, Run
from attnswitch.record.place import record_file
from attnswitch.record.project import describe_project
from attnswitch.record.store import Record, open_record

DEFAULT_BACKENDS = ("flash", "standard", "eager")


@dataclass
class Plan:
    """What is to be measured, and where it is kept (`file` of None: nowhere)."""

    grid: Grid
    started: Run
    workshop: Workshop
    file: Path | None
    resume: bool
    runs_taken_from_record: dict[str, Run] = field(default_factory=dict)

    def run(self, progress: Progress) -> Outcome:
        """Measure, and keep each cell as it is finished."""
        if self.file is None:
            return run_grid(self.grid, self.started, lambda run, rows: None, progress,
                            workshop=self.workshop)  # fmt: skip
        with open_record(self.file) as record:
            held = _Held(record, self) if self.resume else None
            return run_grid(self.grid, self.started, record.add, progress, workshop=self.workshop,
                            known=held.rows_of if held else lambda workload: ())  # fmt: skip


class _Held:
    """Cells that the record has already, measured as they would be measured now."""

    def __init__(self, record: Record, plan: Plan):
        self._plan = plan
        now = plan.started
        alike = {
            run.id: run
            for run in record.runs()
            if (run.machine, run.label, run.settings) == (now.machine, now.label, now.settings)
            and _code(run) == _code(now)
        }
        self._runs = alike
        self._cells: dict[tuple[str, str], list[Row]] = {}
        for row in record.rows(list(alike)):
            self._cells.setdefault((row.run, row.cell), []).append(row)

    def rows_of(self, workload: Workload) -> Sequence[Row]:
        """The rows of the newest cell of this workload that has every request, or none."""
        wanted = [request.word for request in self._plan.grid.requests]
        for (run, _), rows in sorted(self._cells.items(), reverse=True):
            if rows[0].data["workload"] != workload.to_json():
                continue
            if [row.data["request"] for row in rows] == wanted:
                self._plan.runs_taken_from_record[run] = self._runs[run]
                return rows
        return ()


def _code(run: Run) -> tuple[Any, ...]:
    """What code ran: attnswitch's, and the packages'."""
    return run.environment.get("code"), run.environment.get("packages")


def plan(arguments: argparse.Namespace) -> Plan:
    """The plan that the options describe.

    Raises:
        InputError, ModelInputError, RequestError: something is asked for that does not exist.
        UnavailableError: a backend that was named cannot run here.
    """
    from attnswitch.environment import require_torch
    from attnswitch.switch import as_request

    torch = require_torch()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    words = arguments.backends or DEFAULT_BACKENDS
    requests = list({r.word: r for r in (as_request(w, "--backends") for w in words)}.values())
    baseline = _baseline(arguments.baseline, requests)
    workshop = Workshop(trust_remote_code=arguments.trust_remote_code)
    found = _workloads(arguments, workshop)
    if arguments.backends:
        _check_that_all_can_run(found, requests)
    file = None if arguments.no_record else record_file(arguments.record)
    if file is not None:
        open_record(file).close()  # before hours of work, not after
    settings = Settings(
        rounds=arguments.rounds, seconds=arguments.seconds, memory=not arguments.no_memory
    )
    resident = "none" if arguments.no_memory else arguments.resident
    grid = Grid(found, requests, settings, resident, no_room)
    return Plan(grid, _begin(arguments, grid, baseline), workshop, file, arguments.resume)


def _baseline(word: str | None, requests: Sequence[Request]) -> str | None:
    if word is None:
        return None
    from attnswitch.switch import as_request

    found = as_request(word, "--baseline").word
    if found not in [request.word for request in requests]:
        listed = ", ".join(request.word for request in requests)
        raise InputError(f"--baseline {found} is none of what is measured: {listed}")
    return found


def _workloads(arguments: argparse.Namespace, shop: Workshop) -> list[Workload]:
    from attnswitch.geometries.find import DEMO
    from attnswitch.models.placement import dtype_name, torch_device

    phases = list(dict.fromkeys(phase_of_word(word) for word in arguments.phase))
    dtypes: list[str | None] = [dtype_name(word) for word in arguments.dtype or ()] or [None]
    device = str(torch_device(arguments.device))
    given = {
        name: tuple(chain(*getattr(arguments, name)))
        for name in ("tokens", "tiles", "frames", "images")
    }
    lengths = Lengths(**given, text_tokens=arguments.text_tokens)
    found: list[Workload] = []
    for subject in dict.fromkeys(arguments.geometry or [arguments.model or DEMO]):
        shape = _geometry(subject, arguments, any(given.values()))
        if shape is None:
            for dtype in dtypes:
                found += shop.questions(subject, phases, dtype, device)
            continue
        found += workloads(
            shape, subject, "geometry" if arguments.geometry else "model",
            "attention" if arguments.attention_only else "whole", phases=phases, lengths=lengths,
            batches=list(dict.fromkeys(chain(*arguments.batch))), dtypes=dtypes, device=device,
        )  # fmt: skip
    return found


def _geometry(subject: str, arguments: argparse.Namespace, lengths: bool) -> Geometry | None:
    """The geometry; None for a checkpoint whose tokens are not known, asked for as it stands.

    Raises:
        ModelInputError: no such subject; or one that is not known, and lengths are asked for.
    """
    from attnswitch.geometries.find import geometry
    from attnswitch.models.skeleton import configuration

    try:
        return geometry(subject)
    except ModelInputError as error:
        if arguments.geometry:
            raise
        configuration(subject)  # is it a model at all
        if arguments.attention_only or lengths or set(chain(*arguments.batch)) != {1}:
            raise ModelInputError(
                f"{error}; whole, without lengths and with --batch 1 it is measured with one "
                "picture"
            ) from error
        return None


def _check_that_all_can_run(found: Sequence[Workload], requests: Sequence[Request]) -> None:
    """A backend that was named and can run nowhere here is an error before anything is measured.

    Asked of each subject's attention alone, which takes no weights.
    """
    from attnswitch.bench.attention_alone import attention_alone
    from attnswitch.geometries.find import geometry
    from attnswitch.switch import apply

    kinds = {(one.subject, one.dtype, one.device): one for one in found}
    for one in kinds.values():
        if one.is_question:
            continue
        size = {"images": 0, "text_tokens": 2}
        tiny = Workload(one.subject, one.kind, "attention", "prefill", 2, 1, one.dtype, one.device,
                        size=size)  # fmt: skip
        model = attention_alone(geometry(one.subject), tiny).model
        for request in requests:
            apply(model, request).undo()


def _begin(arguments: argparse.Namespace, grid: Grid, baseline: str | None) -> Run:
    from attnswitch.bench.surroundings import surroundings

    settings = grid.settings.to_json() | {
        "resident": grid.resident,
        "trust_remote_code": arguments.trust_remote_code,
        "baseline": baseline,
    }
    return Run.begin(
        shlex.join(["attnswitch", *arguments.command_line]),
        surroundings(),
        label=arguments.label,
        settings=settings,
        project=describe_project(arguments.project),
    )
