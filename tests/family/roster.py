"""Which classes there are and what each can do here; placing.py holds the rest of transformers'.

The LLaVA family is the seven classes that the command line names, every class that transformers
builds on their code (whose modular source imports from theirs), all others of the same shape (a
vision tower, a projector, a language model), and those of another shape that could be run.
"""

from __future__ import annotations

import dataclasses

from .agreement import WHOLE
from .cousins import COUSINS
from .crossing import MLLAMA
from .glms import GLMS
from .gridded import GRIDDED
from .named import NAMED
from .offspring import OFFSPRING
from .others import OTHERS
from .qwens import QWENS
from .relatives import RELATIVES
from .special import SPECIAL
from .tiny import Tiny

# Those that docs/models.md calls the seven and the nearest, and all the rest.
_NEAREST = (*NAMED, *COUSINS, *SPECIAL, *RELATIVES, MLLAMA)
_FARTHER = (*GLMS, *QWENS, *GRIDDED, *OFFSPRING, *OTHERS)
ALL = (*_NEAREST, *_FARTHER)
NAMED_TYPES = frozenset(tiny.model_type for tiny in NAMED)
ALL_TYPES = frozenset(tiny.model_type for tiny in ALL)

# The vision tower is a timm model: without timm the class cannot be built.
NEED_TIMM = ("fast_vlm", "perception_lm", "gemma3n")
# Pictures are projected or folded there, and no attention sees them before the language model.
NO_VISION_ATTENTION = ("inkling_mm_model", "fuyu", "gemma4_unified")
# An indexer inside each attention site weighs the keys that it pools by a softmax of its own.
WEIGHS_KEYS = ("glm5_next",)
TOWERS = ("vision_tower", "language_model")


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why `flash` is refused for a whole model, and the parts that take it one by one.

    `own` are the roles whose arithmetic is the model's own and takes no other kernel; where there
    are none, the refusal comes with the call, not when the request is applied.
    """

    says: tuple[str, ...]
    parts: tuple[str, ...]
    own: tuple[str, ...] = ()


def _own(site: str, role: str | tuple[str, ...], *parts: str) -> Refusal:
    says = (
        f"asks for 'flash' at {site}",
        "computes attention in its own code and takes no other",
        "'standard' works everywhere",
    )
    return Refusal(says, parts, (role,) if isinstance(role, str) else role)


REFUSES_FLASH = {
    # Relative positions are added to the scores of SAM's tower.
    "got_ocr2": _own("model.vision_tower.layers.0.attn", "vision_tower", "model.language_model"),
    # The image generator, which does not run when questions are answered.
    "janus": _own("model.vqmodel.encoder", "other", "model.vision_model", "model.language_model"),
    # A bias by distance and a sink for each query, which transformers gives to eager alone.
    "inkling2": _own(
        "model.language_model.layers.0.self_attn", "language_model", "model.vision_tower"
    ),
    # The audio towers, which do not run for pictures.
    "gemma3n": _own(
        "model.audio_tower.conformer.0.attention.attn",
        "other",
        "model.vision_tower",
        "model.language_model",
    ),
    "gemma4": _own(
        "model.audio_tower.layers.0.self_attn",
        "other",
        "model.vision_tower",
        "model.language_model",
    ),
    # The resampler between the tower and the cross-attention.
    "idefics": _own(
        "model.perceiver_resampler.blocks.0.0",
        "projector",
        "model.vision_model",
        "model.layers",
        "model.gated_cross_attn_layers",
    ),
    # The tower asks transformers' table in a way that always finds eager.
    "kosmos-2.5": _own(
        "vision_model.encoder.layer.0.attention",
        "vision_tower",
        "text_model",
        "image_to_text_projection",
    ),
    # The tower says that it takes eager alone, and the decoder multiplies itself.
    "git": _own(
        "git.image_encoder.vision_model.encoder.layers.0.self_attn", ("vision_tower", "other")
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
}


def own_roles(tiny: Tiny) -> tuple[str, ...]:
    """The roles of a class that no request reaches."""
    refusal = REFUSES_FLASH.get(tiny.model_type)
    return refusal.own if refusal else ()


def own_parts(tiny: Tiny) -> bool:
    """Whether only some of a class takes no other kernel than its own code."""
    refusal = REFUSES_FLASH.get(tiny.model_type)
    return bool(refusal and refusal.own and refusal.parts)


def towers_of(tiny: Tiny) -> tuple[str, ...]:
    """The roles that every class must have sites of."""
    if tiny.model_type in NO_VISION_ATTENTION:
        return ("language_model",)
    # The decoder of git stands on no path that a language model stands on.
    return ("vision_tower", "other") if tiny.model_type == "git" else TOWERS


def parts_for_flash(tiny: Tiny) -> tuple[str, ...]:
    """The parts of a class that take `flash`: all of it at once, where nothing refuses."""
    refusal = REFUSES_FLASH.get(tiny.model_type)
    return refusal.parts if refusal else WHOLE


def trials(tiny: Tiny) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(parts, requests) to judge; a model's own arithmetic has no reference, so it is left out."""
    refusal = REFUSES_FLASH.get(tiny.model_type)
    if refusal is None:
        return [(WHOLE, ("standard", "flash"))]
    if refusal.own:
        return [(refusal.parts, ("standard", "flash"))]
    return [(WHOLE, ("standard",)), (refusal.parts, ("flash",))]


def has_timm() -> bool:
    """Whether transformers can build a timm tower here."""
    from transformers.utils import is_timm_available

    return is_timm_available()


def _runnable(classes: tuple[Tiny, ...]) -> tuple[Tiny, ...]:
    return tuple(t for t in classes if t.model_type not in NEED_TIMM or has_timm())


def refusing(classes: tuple[Tiny, ...]) -> tuple[Tiny, ...]:
    """Those that refuse `flash` as a whole."""
    return tuple(t for t in classes if t.model_type in REFUSES_FLASH)


NEAREST, FARTHER = _runnable(_NEAREST), _runnable(_FARTHER)
RUNNABLE = (*NEAREST, *FARTHER)
