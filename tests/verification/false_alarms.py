"""How often a healthy pair is called a bug: seeded runs over the LLaVA family and dtypes.

    python -m tests.verification.false_alarms --runs 200
    python -m tests.verification.false_alarms --runs 100 --first-seed 200      and a hundred more

Each run is a new model of the next class and dtype with its own random weights and tokens, on
which FlashAttention's kernel and `blockwise` are verified: one prompt with decoded tokens, and a
batch with padding on one side. Prints each alarm, and the number. Exit status 1 above one in 200.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any

import torch

import attnswitch
from attnswitch.errors import UnavailableError
from tests.family import roster
from tests.family.tiny import IMAGE_TOKEN, PAD_TOKEN, Tiny, _cast

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# FlashAttention refuses a part of these; needing timm is another matter, see roster.
CLASSES = tuple(t for t in roster.RUNNABLE if t.model_type not in roster.REFUSES_FLASH)
# How wide the logits are: from nearly uniform attention to peaked (`tiny` itself uses 1.4).
SPREADS = (0.7, 1.0, 1.4)


def cases() -> Iterator[tuple[Tiny, torch.dtype]]:
    """Classes and dtypes in turn, so that any number of runs covers them evenly."""
    yield from itertools.cycle(itertools.product(CLASSES, DTYPES))


def model_of(tiny: Tiny, dtype: torch.dtype, seed: int) -> Any:
    """A model of the class whose weights, and the width of whose logits, follow from `seed`."""
    model = tiny.model(torch.float32)
    generator = torch.Generator().manual_seed(seed)
    # Neither a dtype nor a class always has the same width: the next turn shifts it.
    turn = len(CLASSES) * len(DTYPES)
    spread = SPREADS[(seed // len(DTYPES) + seed // turn) % len(SPREADS)]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * spread / parameter[0].numel() ** 0.5)
    return _cast(model, dtype)


def inputs_of(tiny: Tiny, dtype: torch.dtype, seed: int) -> list[dict[str, torch.Tensor]]:
    """One prompt, and two padded on the left or (every other seed) on the right."""
    generator = torch.Generator().manual_seed(seed)
    side = "left" if seed % 2 else "right"
    both = [tiny.inputs(1, 1, "left", dtype), tiny.inputs(2, 1, side, dtype)]
    for given in both:
        ids = given["input_ids"]
        words = (ids != IMAGE_TOKEN) & (ids != PAD_TOKEN) & (ids < 90) & (ids > 2)
        ids[words] = torch.randint(5, 70, (int(words.sum()),), generator=generator)
    return both


def run(tiny: Tiny, dtype: torch.dtype, seed: int, **wanted: Any) -> Any:
    """The verification of one healthy pair."""
    model = model_of(tiny, dtype, seed)
    return attnswitch.verify(
        model, inputs_of(tiny, dtype, seed), max_new_tokens=4, seed=seed, **wanted
    )


def write_down(file: str, seed: int, tiny: Tiny, dtype: torch.dtype, found: Any) -> None:
    """One line: what was verified, and what speaks against agreement."""
    line = {
        "seed": seed, "model_type": tiny.model_type, "dtype": str(dtype).removeprefix("torch."),
        "sites": len(found.local.sites), "failures": [str(one) for one in found.failures],
    }  # fmt: skip
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(line) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Run, print and count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--json", metavar="FILE", help="add a line with each run to a file")
    options = parser.parse_args(arguments)
    alarms = refused = 0
    first, last = options.first_seed, options.first_seed + options.runs
    # The seed is the place in the turn of classes and dtypes: parts make one whole.
    for seed, (tiny, dtype) in enumerate(itertools.islice(cases(), first, last), first):
        try:
            found = run(tiny, dtype, seed, gradients=options.gradients)
        except UnavailableError as error:
            refused += 1
            print(f"refused: seed {seed} {tiny.model_type} {dtype}: {error}")
            continue
        if not found.agrees:
            alarms += 1
            print(f"ALARM seed {seed} {tiny.model_type} {dtype}: {len(found.failures)} findings")
            for failure in found.failures[:4]:
                print(f"    {failure.kind} {failure.who} {failure}")
        if options.json:
            write_down(options.json, seed, tiny, dtype, found)
        sys.stdout.flush()
    print(f"{alarms} false alarms in {options.runs - refused} runs")
    return int(alarms * 200 > options.runs)


if __name__ == "__main__":
    torch.set_num_threads(1)  # tiny models: a second thread only waits
    sys.exit(main())
