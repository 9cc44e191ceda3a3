"""Find the places in a model that compute attention, and what each belongs to.

Works on any torch module, on the meta device too: nothing is run and no weight is read.
"""

from __future__ import annotations

import dis
import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

from attnswitch.types import Role, Site

_ATTENTION_CLASS = re.compile(r"(Attention|Attn|MHA|AttentionPool\w*)(Layer|Block|Rope|\d+)?$")
# Linear attention has no softmax and no kernel to choose: no attention call, so no site.
_LINEAR_CLASS = re.compile(r"(Linear|Lightning|Delta)\w*Attention$")
_ROLE_WORDS: tuple[tuple[Role, tuple[str, ...]], ...] = (
    ("projector", ("multi_modal_projector", "mm_projector", "projector", "connector", "resampler",
                   "abstractor", "qformer", "perceiver", "perceiver_resampler",
                   "image_to_text_projection")),
    ("vision_tower", ("vision_tower", "image_tower", "video_tower", "vision_model", "visual",
                      "vision_encoder", "image_encoder", "vision_resampler", "clip", "siglip",
                      "vision")),
    ("language_model", ("language_model", "text_model", "llm", "lm", "decoder",
                        "gated_cross_attn_layers")),
    ("other", ("vqmodel",)),  # Janus's image generator, whose own "decoder" is no language model
)  # fmt: skip


def find_sites(model: Any) -> dict[str, tuple[Site, Any]]:
    """Return {module path: (Site, module)} for every attention module, in model order.

    A module counts when its class is an attention class and no attention class lies inside it.
    """
    found: dict[str, tuple[Site, Any]] = {}
    for path, module in model.named_modules():
        if is_attention(module) and not any(_attention_inside(module)):
            site = Site(path, role_of(path, module), reach_of(module), _is_causal(module))
            found[path] = (site, module)
    return found


def takes_sdpa(model: Any, site: Site) -> bool:
    """Whether another kernel than the model's own eager code can run at a site.

    The innermost transformers model around it says so, for sites that follow its table.
    """
    if site.reach != "interface":
        return site.reach == "operator"
    owner, module = type(model), model
    for name in steps_to(site.path):
        module = getattr(module, name)
        if hasattr(module, "_supports_sdpa"):
            owner = type(module)
    return bool(getattr(owner, "_supports_sdpa", True))


def find_entries(model: Any, paths: Iterable[str]) -> list[Any]:
    """The modules by which a run can enter the part of `model` that holds the sites at `paths`.

    `generate` and projects of their own call a vision tower directly, not through the whole
    model's forward; so besides the model itself these are its children that hold sites and every
    transformers model inside. They nest: the outermost one that runs is the pass.
    """
    entries: dict[int, Any] = {id(model): model}
    for path in paths:
        module = model
        for depth, name in enumerate(steps_to(path)[:-1]):
            module = getattr(module, name)
            if depth == 0 or hasattr(module, "_supports_sdpa"):
                entries.setdefault(id(module), module)
    return list(entries.values())


def steps_to(path: str) -> list[str]:
    """The attributes that lead from a model to a module; none to the model itself."""
    return path.split(".") if path else []


def is_attention(module: Any) -> bool:
    """Whether the class of `module` computes attention: by its name or that of a class it is made
    from (LlamaFlashAttention2ForPackedTraining), or because its own forward calls PyTorch's
    scaled_dot_product_attention (Inkling2BlockAttentionResidual does)."""
    if any(_ATTENTION_CLASS.search(klass.__name__) for klass in type(module).__mro__):
        return not _is_linear(type(module))
    code = getattr(type(module).forward, "__code__", None)
    return code is not None and "scaled_dot_product_attention" in code.co_names


def _is_linear(module_class: type) -> bool:
    """Whether an attention class is a recurrence or a linear form: named so, and its code takes no
    softmax and calls no attention function (KimiLinearAttention does: the model is called so)."""
    if not any(_LINEAR_CLASS.search(klass.__name__) for klass in module_class.__mro__):
        return False
    names = _names_used(module_class)
    softmax = {"softmax", "Softmax", "ALL_ATTENTION_FUNCTIONS", "scaled_dot_product_attention"}
    return not names & softmax


def _attention_inside(module: Any) -> Iterator[bool]:
    for child in module.modules():
        if child is not module and is_attention(child) and type(child).__name__ != "Identity":
            yield True


def role_of(path: str, module: Any = None) -> Role:
    """What a module path belongs to: the outermost telling word decides.

    `model.vision_tower.encoder.layers.0.self_attn` is the vision tower, although "decoder" words
    may follow; a plain `model.layers.3.self_attn` of a causal decoder is the language model.
    """
    for word in path.lower().split("."):
        for role, words in _ROLE_WORDS:
            if word in words:
                return role
    if module is not None and (_is_causal(module) or hasattr(module, "rotary_emb")):
        return "language_model"  # before 4.36 Llama's attention does not say that it is causal
    return "other"


def _is_causal(module: Any) -> bool:
    return bool(getattr(module, "is_causal", False))


def reach_of(module: Any) -> Any:
    """How the switch reaches a module: `interface`, `operator`, or `own` arithmetic.

    Read from the names its forward uses; PyTorch's own MultiheadAttention calls SDPA.
    """
    kind: Any = type(module)
    names = _names_used(kind)
    if "ALL_ATTENTION_FUNCTIONS" in names:
        return "own" if _asks_for_an_attribute(kind) else "interface"
    module_name = kind.__module__
    if module_name.startswith("torch.nn") or "scaled_dot_product_attention" in names:
        return "operator"
    return "own"


@functools.cache
def _asks_for_an_attribute(module_class: type) -> bool:
    """Whether a class writes getattr(ALL_ATTENTION_FUNCTIONS, name, eager): the table has no such
    attributes, so whatever the name, eager code runs (Kosmos-2.5's tower)."""
    for code in _codes(module_class):
        for one, next_one in itertools.pairwise(dis.get_instructions(code)):
            if (one.argval, next_one.argval) == ("getattr", "ALL_ATTENTION_FUNCTIONS"):
                return True
    return False


def _names_used(module_class: type) -> set[str]:
    """Global and attribute names in the code of a class's own methods (not nn.Module's)."""
    return {name for code in _codes(module_class) for name in code.co_names}


def _codes(module_class: type) -> Iterator[CodeType]:
    """The code of a class's own methods and of those it inherits, but for nn.Module's."""
    for klass in module_class.__mro__:
        if klass.__module__.startswith("torch.nn.modules.module") or klass is object:
            continue
        for attribute in vars(klass).values():
            function = getattr(attribute, "__wrapped__", attribute)
            code = getattr(function, "__code__", None)
            if code is not None:
                yield code
