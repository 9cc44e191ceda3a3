"""The attention calls that LLaVA models make, as data: shapes and their masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Case:
    """One attention call: batch × heads(groups) × width, ``tokens`` long, with one kind of mask.

    ``mask``: full, causal, padded (left-padded batch of different lengths, causal) or packed
    (several causal sequences laid end to end).
    """

    name: str
    heads: int
    groups: int
    width: int
    tokens: int
    mask: str
    batch: int = 1

    def tensors(self, dtype: torch.dtype, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """Return query (B, H, T, D), key, value (B, G, T, D), strided as projections leave them."""
        generator = torch.Generator().manual_seed(seed)
        heads = (self.heads, self.groups, self.groups)
        shapes = ((self.batch, self.tokens, count, self.width) for count in heads)
        return tuple(
            torch.randn(shape, generator=generator).to(dtype).transpose(1, 2) for shape in shapes
        )

    def lengths(self) -> list[int]:
        """Return the true lengths of a padded batch, or of the packed sequences."""
        if self.mask == "padded":
            return [self.tokens * (self.batch - i) // self.batch for i in range(self.batch)]
        parts = [self.tokens * share // 16 for share in (5, 1, 4, 2)]
        return [*parts, self.tokens - sum(parts)]

    def bool_mask(self) -> torch.Tensor | None:
        """Return the mask that transformers would pass to SDPA: (B, 1, T, T) bool, or None."""
        if self.mask not in ("padded", "packed"):
            return None
        index = torch.arange(self.tokens)
        causal = index[:, None] >= index[None, :]
        if self.mask == "padded":
            starts = torch.tensor([self.tokens - length for length in self.lengths()])
            return (causal & (index >= starts[:, None, None])).unsqueeze(1)
        ends = torch.tensor(self.lengths()).cumsum(0)
        segment = torch.bucketize(index, ends, right=True)
        return (causal & (segment[:, None] == segment[None, :]))[None, None]

    @property
    def score_elements(self) -> int:
        """How many scores there are if all of them are kept."""
        return self.batch * self.heads * self.tokens**2


def cases() -> list[Case]:
    """Return LLaVA's own shapes."""
    return [
        Case("CLIP-L", 16, 16, 64, 577, "full"),
        Case("SigLIP", 16, 16, 72, 729, "full"),
        *(Case("Vicuna-7B", 32, 32, 128, tokens, "causal") for tokens in (640, 1344, 2880)),
        *(Case("Qwen2-0.5B", 14, 2, 64, t, "causal") for t in (1024, 2980, 7290, 16384)),
        Case("Qwen2-0.5B", 14, 2, 64, 2980, "full"),
        Case("Qwen2-0.5B", 14, 2, 64, 1024, "padded", batch=4),
        Case("Qwen2-0.5B", 14, 2, 64, 4096, "packed"),
        Case("Vicuna-7B", 32, 32, 128, 640, "padded", batch=4),
        Case("Vicuna-7B", 32, 32, 128, 2048, "packed"),
    ]
