"""Run a program, unmodified, with a wrong backend where a request for standard attention leads.

    python planted.py FAULT -m llava.train.train_mem ARGUMENTS...
    python planted.py FAULT names.py ARGUMENTS...

The faults are those that the suite's comparisons have to catch. Needs ATTNSWITCH=standard.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

import torch

from attnswitch import backends

RIGHT = backends.attend_with("blockwise")


def attends_to_the_future(
    query: Any, key: Any, value: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False,
    **rest: Any,
) -> Any:  # fmt: skip
    """Every row sees what the last row sees."""
    mask = mask if mask is None else mask[..., -1:, :]
    return RIGHT(query, key, value, mask, dropout, False, **rest)


def ignores_padding(
    query: Any, key: Any, value: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False,
    **rest: Any,
) -> Any:  # fmt: skip
    """Rows see everything before them, padding too."""
    causal = causal or (mask is not None and query.shape[-2] > 1)
    return RIGHT(query, key, value, None, dropout, causal, **rest)


def scores_too_small(query: Any, *rest: Any, **keywords: Any) -> Any:
    """The scale of the scores is applied twice."""
    return RIGHT(query * query.shape[-1] ** -0.5, *rest, **keywords)


FAULTS = {f.__name__: f for f in (attends_to_the_future, ignores_padding, scores_too_small)}

if __name__ == "__main__":
    backends.replace_backend("blockwise", FAULTS[sys.argv[1]])
    torch.manual_seed(0)  # as watch.py does
    as_module = sys.argv[2] == "-m"
    sys.argv = sys.argv[3:] if as_module else sys.argv[2:]
    if as_module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
