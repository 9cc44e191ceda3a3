"""Compile two attention functions, run them under each step's request, print what ran as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys

os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch

import attnswitch
from tests.seams.kernels import attend, kernels


def by_hand(q: torch.Tensor) -> torch.Tensor:
    return torch.softmax(q @ q.transpose(-2, -1) * 0.25, dim=-1) @ q


def under(step: str) -> contextlib.AbstractContextManager[object]:
    if step == "bare":
        return contextlib.nullcontext()
    return attnswitch.forbid("flash") if step == "forbid" else attnswitch.use(step)


def ran(function: object, q: torch.Tensor) -> list[str]:
    try:
        function(q)  # type: ignore[operator]  # compiles
        return sorted(kernels(function, q))  # type: ignore[arg-type]
    except attnswitch.AttnSwitchError as error:
        return [f"{type(error).__name__} {error}"]


def main() -> None:
    compiled = {"sdpa": torch.compile(attend), "by hand": torch.compile(by_hand)}
    q = torch.randn(1, 2, 8, 16)
    found = []
    for step in sys.argv[1:]:
        with under(step), torch.no_grad():
            found.append({name: ran(function, q) for name, function in compiled.items()})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
