"""Hand-written attention, recognised by its arithmetic: product, softmax, product.

The shapes must fit: the softmax runs over what the first product gave, and its result goes into
the second. A gate's or a router's softmax between two projections does not pass for attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

# A softmax between two batched matrix products. A plain `aten::mm` proves nothing: a gate between
# two weights looks the same in a profile.
SOFTMAX_OPERATORS = frozenset({"aten::_softmax", "aten::_masked_softmax"})
SOFTMAX_BACKWARD = frozenset({"aten::_softmax_backward_data", "aten::_masked_softmax_backward"})
MATMUL_OPERATORS = frozenset({"aten::bmm", "aten::baddbmm"})
PROJECTIONS = frozenset({"aten::linear"})  # their products are with weights
# PyTorch's fast path of nn.MultiheadAttention: arithmetic inside one operator.
FAST_PATHS = frozenset({"aten::_native_multi_head_attention"})

Shapes = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Step:
    """One operator that ran: its name and the shapes of its inputs."""

    name: str
    shapes: Shapes


def attention_steps(steps: Sequence[Step]) -> list[tuple[int, int, int]]:
    """Positions of (product, softmax, product) for each attention among `steps`, in order."""
    found = []
    for middle, step in enumerate(steps):
        if step.name not in SOFTMAX_OPERATORS or not step.shapes:
            continue
        scores = step.shapes[0]
        before = next((i for i in range(middle - 1, -1, -1) if _gives(steps[i], scores)), None)
        after = next((i for i in range(middle + 1, len(steps)) if _takes(steps[i], scores)), None)
        if before is not None and after is not None:
            found.append((before, middle, after))
    return found


def query_shapes(product: Step, scores: Sequence[int]) -> list[list[int]]:
    """Shapes of query and key, read from the first product and the scores' leading dimensions."""
    left, right = _operands(product)
    lead = list(scores[:-2])
    return [[*lead, scores[-2], left[-1]], [*lead, scores[-1], right[-2]]]


def _operands(step: Step) -> tuple[Sequence[int], Sequence[int]]:
    first = 1 if step.name == "aten::baddbmm" else 0
    if len(step.shapes) < first + 2:
        return (), ()
    return step.shapes[first], step.shapes[first + 1]


def _gives(step: Step, scores: Sequence[int]) -> bool:
    """Whether the product's result can be the scores: as many elements, as wide."""
    if step.name not in MATMUL_OPERATORS:
        return False
    left, right = _operands(step)
    if len(left) < 2 or len(right) < 2:
        return False
    return right[-1] == scores[-1] and prod(left[:-1]) * right[-1] == prod(scores)


def _takes(step: Step, scores: Sequence[int]) -> bool:
    """Whether the product's first operand can be the softmax of the scores."""
    if step.name not in MATMUL_OPERATORS:
        return False
    left, _ = _operands(step)
    return len(left) >= 2 and left[-1] == scores[-1] and prod(left) == prod(scores)
