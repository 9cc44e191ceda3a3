"""Run programs in the suite's environments, two at a time, with and without the switch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from compat.environments import python_of

PROGRAMS = Path(__file__).resolve().parent / "programs"
TIMEOUT_SECONDS = 600
# Each run is small and there are two cores: one thread a run is quickest.
ALWAYS = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "KINETO_LOG_LEVEL": "99",
    "CUDA_VISIBLE_DEVICES": "",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
}
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Finished:
    """A program that has ended: its status and what it wrote, standard error included."""

    status: int
    output: str

    def expect_success(self) -> Finished:
        """Raise AssertionError with the end of the output unless the status is 0."""
        assert self.status == 0, f"status {self.status}:\n{self.output[-6000:]}"
        return self


def run(
    environment: str,
    arguments: Sequence[str | Path],
    *,
    attn: str | None = None,
    cwd: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> Finished:
    """Run `python ARGUMENTS` in an environment; `attn` is the value of ATTNSWITCH, or unset."""
    variables = variables_for(attn, extra)
    command = [str(python_of(environment)), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=variables, text=True, errors="replace", timeout=TIMEOUT_SECONDS,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout)


def variables_for(attn: str | None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables without what would leak in, and with the request."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_PASSED_ON and not name.startswith("ATTNSWITCH")
    }
    request = {} if attn is None else {"ATTNSWITCH": attn}
    return {**kept, **ALWAYS, **request, **(extra or {})}


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2)


def start(*arguments: object, **keywords: object) -> Future[Finished]:
    """`run`, in the background: two programs at a time."""
    return _pool().submit(run, *arguments, **keywords)  # type: ignore[arg-type]
