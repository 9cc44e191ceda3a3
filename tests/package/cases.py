"""Generated calls: shapes, dtypes, masks, windows, group sizes, packed lengths, empty ones too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WINDOWS = st.one_of(
    st.just((-1, -1)),
    st.tuples(st.integers(-1, 6), st.integers(-1, 6)),
)


def examples(number: int) -> settings:
    """Run a property on `number` generated cases, the same ones each time."""
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@dataclass(frozen=True)
class Case:
    """One generated call; `lengths` are (rows, keys) of each sequence."""

    lengths: tuple[tuple[int, int], ...]
    groups: int
    heads: int
    width: int
    dtype: torch.dtype
    causal: bool
    window: tuple[int, int]
    softcap: float
    slopes: int
    scale: float | None
    seed: int

    @property
    def rows(self) -> list[int]:
        return [rows for rows, _ in self.lengths]

    @property
    def keys(self) -> list[int]:
        return [keys for _, keys in self.lengths]

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q (rows, H, D), k and v (keys, G, D), leaves with a gradient."""
        generator = torch.Generator().manual_seed(self.seed)
        shapes = [(sum(self.rows), self.heads), *[(sum(self.keys), self.groups)] * 2]
        made = [torch.randn(*s, self.width, generator=generator).to(self.dtype) for s in shapes]
        return tuple(t.requires_grad_() for t in made)  # type: ignore[return-value]

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The same as (B, T, H, D), for cases whose sequences have one length."""
        made = (t.detach().unflatten(0, (len(self.lengths), -1)) for t in self.tensors())
        return tuple(t.requires_grad_() for t in made)  # type: ignore[return-value]

    def alibi(self) -> torch.Tensor | None:
        """Slopes for each head (1), for each sequence and head (2), or none (0)."""
        if not self.slopes:
            return None
        generator = torch.Generator().manual_seed(self.seed + 1)
        shape = (self.heads,) if self.slopes == 1 else (len(self.lengths), self.heads)
        return torch.rand(*shape, generator=generator) * 0.4

    def asked(self) -> dict[str, Any]:
        """Arguments of flash_attn's functions."""
        return {
            "softmax_scale": self.scale,
            "causal": self.causal,
            "window_size": self.window,
            "softcap": self.softcap,
            "alibi_slopes": self.alibi(),
        }

    def plainly(self) -> dict[str, Any]:
        """The same, as `plain.attention` takes them."""
        return {
            "scale": self.scale,
            "causal": self.causal,
            "window": self.window,
            "softcap": self.softcap,
            "slopes": self.alibi(),
        }

    def without_softcap(self) -> Case:
        return replace(self, softcap=0.0)


def cumulated(lengths: list[int]) -> torch.Tensor:
    """cu_seqlens of these lengths."""
    return torch.tensor([sum(lengths[:n]) for n in range(len(lengths) + 1)], dtype=torch.int32)


@st.composite
def cases(draw: Any, *, one_length: bool, softcap: bool = True) -> Case:
    """A call for a batch of one length (at least one row and key), or of packed sequences."""
    if one_length:
        length = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
        lengths = (length,) * draw(st.integers(1, 3))
    else:
        any_length = st.tuples(st.integers(0, 9), st.integers(0, 9))
        lengths = tuple(draw(st.lists(any_length, min_size=1, max_size=4)))
    groups = draw(st.sampled_from((1, 2, 3)))
    return Case(
        lengths=lengths,
        groups=groups,
        heads=groups * draw(st.sampled_from((1, 2, 4))),
        width=draw(st.sampled_from((8, 16))),
        dtype=draw(st.sampled_from(DTYPES)),
        causal=draw(st.booleans()),
        window=draw(WINDOWS),
        softcap=draw(st.sampled_from((0.0, 0.0, 1.5, 20.0))) if softcap else 0.0,
        slopes=draw(st.sampled_from((0, 0, 1, 2))),
        scale=draw(st.sampled_from((None, None, 0.7))),
        seed=draw(st.integers(0, 2**31)),
    )
