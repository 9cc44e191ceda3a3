"""What a geometry is: the numbers of a LLaVA that decide what it costs. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

# single: every picture is one tile. anyres: a base view and crops on a grid (LLaVA-NeXT). native:
# patches of the picture's own size (Qwen2.5-VL).
RuleKind = Literal["single", "anyres", "native"]
Pixels = tuple[int, int]  # height, width


@dataclass(frozen=True)
class VisionTower:
    """A vision transformer. `family` is transformers' model_type of it.

    `class_tokens` are counted in the sequence of a tile beside its patches. `window_tokens`: layers
    other than `full_layers` attend inside windows of so many patches (Qwen2.5-VL).
    """

    family: str
    layers: int
    heads: int
    head_dim: int
    width: int
    mlp_width: int
    image_size: int
    patch_size: int
    class_tokens: int = 0
    mlp_matrices: int = 2
    window_tokens: int | None = None
    full_layers: tuple[int, ...] = ()

    @property
    def patches(self) -> int:
        """Patches of one tile."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def tokens(self) -> int:
        """The sequence length of one tile."""
        return self.patches + self.class_tokens


@dataclass(frozen=True)
class Projector:
    """Two linear layers: width_in → width_hidden → width_out, for `merge` patches at a time."""

    width_in: int
    width_hidden: int
    width_out: int
    merge: int = 1


@dataclass(frozen=True)
class LanguageModel:
    """A causal decoder. `family` is transformers' model_type of it.

    `mlp_matrices` is 3 for a gated MLP (SwiGLU). `context` is the number of positions that it is
    published for. `tied`: the output layer is the embedding.
    """

    family: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    mlp_width: int
    vocabulary: int
    context: int
    mlp_matrices: int = 3
    tied: bool = False


@dataclass(frozen=True)
class ImageRule:
    """How pictures and frames become tokens of the language model.

    `grids` are the resolutions that `anyres` may choose; where the crops hold more patches than
    `most_tiles` tiles do, they are scaled down to that. `frame_stride` pools a frame's patches (1:
    not pooled), `frame_rounds_up` says how an odd side is pooled, `frame_class_token` whether a
    frame keeps its class token; `video_newline` counts tokens at a video's end. `pixels` bounds a
    `native` picture.
    """

    kind: RuleKind
    grids: tuple[Pixels, ...] = ()
    most_tiles: int | None = None
    frames: bool = False
    frame_stride: int = 1
    frame_rounds_up: bool = False
    frame_class_token: bool = False
    video_newline: int = 0
    pixels: tuple[int, int] | None = None


@dataclass(frozen=True)
class Geometry:
    """A LLaVA by its numbers.

    `family` is transformers' model_type, `dtype` the one its weights are published in, `frames` how
    many of a video it is meant for. `config` is set where the numbers were read from a checkpoint:
    a model is then built from that. `towers` is 2 where pictures and videos have one each.
    """

    name: str
    family: str
    dtype: str
    vision: VisionTower
    projector: Projector
    language: LanguageModel
    image: ImageRule
    sources: tuple[str, ...]
    frames: int | None = None
    towers: int = 1
    note: str = ""
    config: Any = field(default=None, compare=False, repr=False)
