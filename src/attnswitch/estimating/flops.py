"""FLOPs by formula, from a geometry's numbers alone: two a multiply-add, products only.

`counted` is what PyTorch's counter (torch.utils.flop_counter) gives: it takes every score to be
computed, also those that a causal mask kills. `needed` leaves those out. Elementwise work, softmax
included, is counted by neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.samples import Sample
from attnswitch.geometries.workloads import AttentionWorkload, attention_workloads

# Products of a forward, QKᵀ and PV; and of a backward: dV, dP, dQ, dK, and for those that keep no
# probabilities QKᵀ once more (Dao et al. 2022, appendix B).
FORWARD_PRODUCTS = 2
BACKWARD_PRODUCTS = {"eager": 4, "math": 4, "flash": 5, "efficient": 5, "blockwise": 5}


@dataclass(frozen=True)
class Flops:
    """FLOPs as PyTorch counts them, and those that the mask leaves to be done."""

    counted: int
    needed: int

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.counted + other.counted, self.needed + other.needed)


def pairs(workload: AttentionWorkload) -> int:
    """How many (query row, key) pairs of one head see each other."""
    T, S = workload.q_tokens, workload.kv_tokens
    if not workload.is_causal:
        return T * S
    # Row i sees keys 0 to i, of which there are S.
    seen = min(T, S)
    return seen * (seen + 1) // 2 + (T - seen) * S


def attention_flops(workload: AttentionWorkload, backend: str) -> Flops:
    """All calls of a workload, with their gradients where it has them."""
    products = FORWARD_PRODUCTS + (BACKWARD_PRODUCTS[backend] if workload.backward else 0)
    each = 2 * workload.head_dim * workload.batch * workload.heads * workload.calls * products
    return Flops(each * workload.q_tokens * workload.kv_tokens, each * pairs(workload))


def forward_flops(
    geometry: Geometry, sample: Sample, *, batch: int = 1, logits: int = 1
) -> dict[str, Flops]:
    """A forward pass, part by part; `logits` are the positions that get a prediction."""
    parts = {
        "vision tower: linear layers": _tower_linear(geometry, sample) * batch,
        "projector": _projector(geometry, sample) * batch,
        "language model: linear layers": _language_linear(geometry) * sample.tokens * batch,
        "output layer": 2 * geometry.language.width * geometry.language.vocabulary * logits * batch,
    }
    found = {name: Flops(count, count) for name, count in parts.items() if count}
    for phase, name in (("vision", "vision tower"), ("prefill", "language model")):
        total = Flops(0, 0)
        for workload in attention_workloads(geometry, sample, phase=phase, batch=batch):
            total += attention_flops(workload, "math")
        if total.counted:
            found[f"{name}: attention"] = total
    return found


def _tower_linear(geometry: Geometry, sample: Sample) -> int:
    """Patches, projections and MLPs, all tiles of one sample."""
    tower = geometry.vision
    frames = 2 if geometry.image.kind == "native" else 1
    patches = sample.patches - tower.class_tokens
    embedding = patches * 3 * frames * tower.patch_size**2 * tower.width
    layer = 4 * tower.width * tower.heads * tower.head_dim
    layer += tower.mlp_matrices * tower.width * tower.mlp_width
    return 2 * sample.tiles * (embedding + sample.patches * tower.layers * layer)


def _projector(geometry: Geometry, sample: Sample) -> int:
    """Both layers, on every patch that the tower hands on: pooled before them in LLaVA-NeXT-Video,
    after them in OneVision; class tokens stay in where videos keep them."""
    projector, rule = geometry.projector, geometry.image
    rows = (sample.patches - geometry.vision.class_tokens) // projector.merge
    if sample.frames and rule.frame_class_token:
        rows = sample.patches
    if sample.frames and geometry.family == "llava_next_video":
        rows = sample.image_tokens // sample.frames
    width = projector.width_in * projector.width_hidden
    width += projector.width_hidden * projector.width_out
    return 2 * sample.tiles * rows * width


def _language_linear(geometry: Geometry) -> int:
    """One token through the projections and MLPs of all layers."""
    model = geometry.language
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    layer = model.width * (2 * queries + 2 * keys)
    layer += model.mlp_matrices * model.width * model.mlp_width
    return 2 * model.layers * layer
