"""Which classes there are and what each can do here; placing.py holds the rest of transformers'.

The LLaVA family is the seven classes that the command line names, every class that transformers
builds on their code (whose modular source imports from theirs), and others of the same shape: a
vision tower, a projector, a language model.
"""

from __future__ import annotations

import dataclasses

from .agreement import WHOLE
from .cousins import COUSINS
from .crossing import MLLAMA
from .named import NAMED
from .relatives import RELATIVES
from .special import SPECIAL
from .tiny import Tiny

ALL = (*NAMED, *COUSINS, *SPECIAL, *RELATIVES, MLLAMA)
NAMED_TYPES = frozenset(tiny.model_type for tiny in NAMED)
ALL_TYPES = frozenset(tiny.model_type for tiny in ALL)

# The vision tower is a timm model: without timm the class cannot be built.
NEED_TIMM = ("fast_vlm", "perception_lm")


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why `flash` is refused for a whole model, and the parts that take it one by one.

    `own_role` is the role whose arithmetic is the model's own and takes no other kernel; where
    there is none, the refusal comes with the call, not when the request is applied.
    """

    says: tuple[str, ...]
    parts: tuple[str, ...]
    own_role: str | None = None


def _own(site: str, role: str, *parts: str) -> Refusal:
    says = (
        f"asks for 'flash' at {site}",
        "computes attention in its own code and takes no other",
        "'standard' works everywhere",
    )
    return Refusal(says, parts, role)


REFUSES_FLASH = {
    # Relative positions are added to the scores of SAM's tower.
    "got_ocr2": _own("model.vision_tower.layers.0.attn", "vision_tower", "model.language_model"),
    # The image generator, which does not run when questions are answered.
    "janus": _own("model.vqmodel.encoder", "other", "model.vision_model", "model.language_model"),
    # A bias by distance and a sink for each query, which transformers gives to eager alone.
    "inkling2": _own(
        "model.language_model.layers.0.self_attn", "language_model", "model.vision_tower"
    ),
    # The projector's nn.MultiheadAttention is asked for its weights.
    "aria": Refusal(
        (
            "asks for 'flash' at model.multi_modal_projector.cross_attn.multihead_attn",
            "it is asked for its attention weights and computes them by hand",
            "need_weights=False, or ask for 'standard'",
        ),
        ("model.vision_tower", "model.language_model"),
    ),
    # DeepSeek's latent attention: values are narrower than queries (128 and 192 in Kimi K2.5).
    "kimi_k25": Refusal(
        (
            "FlashAttention cannot take this attention call",
            "value width 8 differs from query width 12",
            "Ask for 'standard' here",
        ),
        ("model.vision_tower",),
    ),
}


def parts_for_flash(tiny: Tiny) -> tuple[str, ...]:
    """The parts of a class that take `flash`: all of it at once, where nothing refuses."""
    refusal = REFUSES_FLASH.get(tiny.model_type)
    return refusal.parts if refusal else WHOLE


def trials(tiny: Tiny) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(parts, requests) to judge; a model's own arithmetic has no reference, so it is left out."""
    refusal = REFUSES_FLASH.get(tiny.model_type)
    if refusal is None:
        return [(WHOLE, ("standard", "flash"))]
    if refusal.own_role:
        return [(refusal.parts, ("standard", "flash"))]
    return [(WHOLE, ("standard",)), (refusal.parts, ("flash",))]


def has_timm() -> bool:
    """Whether transformers can build a timm tower here."""
    from transformers.utils import is_timm_available

    return is_timm_available()


RUNNABLE = tuple(t for t in ALL if t.model_type not in NEED_TIMM or has_timm())
REFUSING = tuple(t for t in RUNNABLE if t.model_type in REFUSES_FLASH)
