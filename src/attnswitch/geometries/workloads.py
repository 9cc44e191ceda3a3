"""The attention calls of a geometry and a sample: groups of alike sites, by phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.samples import Sample
from attnswitch.types import Role

Mask = Literal["full", "causal"]
# `training_step` is vision and prefill, each forward and backward.
PHASES = ("vision", "prefill", "decode", "training_step")


@dataclass(frozen=True)
class AttentionWorkload:
    """`calls` attention calls of one shape.

    query [batch, heads, q_tokens, head_dim]; key and value [batch, kv_heads, kv_tokens, head_dim].
    `mask` is what the model asks for where nothing is padded: "causal" rows see the keys up to
    their own. `backward`: the call's gradients are computed too.
    """

    role: Role
    phase: str
    batch: int
    heads: int
    kv_heads: int
    q_tokens: int
    kv_tokens: int
    head_dim: int
    mask: Mask
    calls: int
    backward: bool = False

    @property
    def is_causal(self) -> bool:
        """SDPA's argument: a single query row sees every key."""
        return self.mask == "causal"

    def tensors(self, dtype: Any, device: str = "cpu", seed: int = 0) -> tuple[Any, Any, Any]:
        """Return random query, key and value, laid out as a model's projections leave them.

        `dtype` is a torch dtype. They are views of [batch, tokens, heads, head_dim], and require
        gradients where `backward`.
        """
        import torch

        place = torch.device(device)
        generator = None if place.type == "meta" else torch.Generator(place).manual_seed(seed)
        found = []
        for tokens, heads in (
            (self.q_tokens, self.heads),
            (self.kv_tokens, self.kv_heads),
            (self.kv_tokens, self.kv_heads),
        ):
            shape = (self.batch, tokens, heads, self.head_dim)
            drawn = torch.randn(shape, generator=generator, device=place).to(dtype)
            found.append(drawn.transpose(1, 2).requires_grad_(self.backward))
        return found[0], found[1], found[2]


def attention_workloads(
    geometry: Geometry, sample: Sample, *, phase: str, batch: int = 1
) -> tuple[AttentionWorkload, ...]:
    """The attention calls of one phase: `vision`, `prefill`, `decode` or `training_step`.

    `decode` is one new token after `sample`; `training_step` the tower's and the language model's
    calls, forward and backward.
    """
    if phase == "vision":
        return tuple(_vision(geometry, sample, batch, False))
    if phase == "prefill":
        return (_language(geometry, sample.tokens, sample.tokens, batch, "prefill", False),)
    if phase == "decode":
        return (_language(geometry, 1, sample.tokens + 1, batch, "decode", False),)
    if phase == "training_step":
        return (
            *_vision(geometry, sample, batch, True),
            _language(geometry, sample.tokens, sample.tokens, batch, "prefill", True),
        )
    raise ValueError(f"no phase {phase!r}; there are {', '.join(PHASES)}")


def _language(
    geometry: Geometry, rows: int, keys: int, batch: int, phase: str, backward: bool
) -> AttentionWorkload:
    model = geometry.language
    mask: Mask = "full" if rows == 1 else "causal"
    return AttentionWorkload(
        "language_model", phase, batch, model.heads, model.kv_heads, rows, keys, model.head_dim,
        mask, model.layers, backward,
    )  # fmt: skip


def _vision(
    geometry: Geometry, sample: Sample, batch: int, backward: bool
) -> Iterator[AttentionWorkload]:
    tower, tiles = geometry.vision, sample.tiles * batch
    if not tiles:
        return

    def calls(count: int, tokens: int, times: int) -> AttentionWorkload:
        return AttentionWorkload(
            "vision_tower", "vision", count, tower.heads, tower.heads, tokens, tokens,
            tower.head_dim, "full", times, backward,
        )  # fmt: skip

    if tower.window_tokens is None:
        yield calls(tiles, sample.patches, tower.layers)
        return
    # Pictures of their own size are packed: every one, and every window, is a call of its own.
    full = len(tower.full_layers)
    yield calls(1, sample.patches, full * tiles)
    for tokens, count in sorted(_windows(geometry, sample).items(), reverse=True):
        yield calls(1, tokens, (tower.layers - full) * tiles * count)


def _windows(geometry: Geometry, sample: Sample) -> Counter[int]:
    """{tokens of a window: how many} in one picture; those at its edges are smaller."""
    tower = geometry.vision
    assert sample.image_size is not None and tower.window_tokens is not None
    merged = int(geometry.projector.merge**0.5)
    side = int(tower.window_tokens**0.5) // merged

    def cuts(pixels: int) -> list[int]:
        total = pixels // (tower.patch_size * merged)
        return [min(side, total - start) for start in range(0, total, side)]

    high, wide = (cuts(pixels) for pixels in sample.image_size)
    return Counter(h * w * merged**2 for h in high for w in wide)
