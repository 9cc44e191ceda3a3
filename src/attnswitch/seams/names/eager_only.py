"""Model classes of old transformers that have only arithmetic of their own for attention.

CLIP's tower before 4.45 (which every LLaVA of that time uses), SigLIP before 4.45 and Llama
before 4.36 multiply and take the softmax themselves: no name and no operator leads there. Under a
request their attention goes through PyTorch's scaled_dot_product_attention instead, where the
operator seam carries the request out; without one, or with 'eager', their own code runs.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from attnswitch import intent
from attnswitch.seams.completed_import import when_complete
from attnswitch.seams.names import copies, old_forwards
from attnswitch.seams.names.resolution import refuse_rules

# {module: {attention class: its forward by way of SDPA}}
_FORWARDS: dict[str, dict[str, Callable[..., Any]]] = {
    "transformers.models.clip.modeling_clip": {"CLIPAttention": old_forwards.clip},
    "transformers.models.siglip.modeling_siglip": {"SiglipAttention": old_forwards.siglip},
    "transformers.models.llama.modeling_llama": {"LlamaAttention": old_forwards.llama},
}
_reached: set[str] = set()


def install() -> None:
    """Redirect the classes that are imported already, and the others when they are."""
    for name in _FORWARDS:
        when_complete(name, _redirect)


def reaches(model_class: Any) -> bool:
    """Whether the attention of a model class without SDPA support is redirected here."""
    redirect(model_class)
    ours = any(klass.__module__ in _reached for klass in model_class.__mro__)
    return ours or copies.reaches(model_class)


def redirect(model_class: Any) -> None:
    """Redirect the attention of a model class about to be built, if that is not done yet."""
    for klass in model_class.__mro__:
        if klass.__module__ in _FORWARDS:
            _redirect(sys.modules[klass.__module__])


def _redirect(module: Any) -> None:
    if module.__name__ in _reached:
        return
    for class_name, forward in _FORWARDS[module.__name__].items():
        family = class_name.removesuffix("Attention")
        newer = hasattr(module, f"{family}SdpaAttention") or hasattr(
            module, "ALL_ATTENTION_FUNCTIONS"
        )
        if not newer and hasattr(module, class_name):
            attention_class = getattr(module, class_name)
            attention_class.forward = _switched(attention_class.forward, forward)
            _reached.add(module.__name__)


def _switched(own: Callable[..., Any], by_sdpa: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(own)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        choice = intent.of_call()
        if choice is None or choice.backend in ("auto", "eager"):
            return own(self, *args, **kwargs)
        refuse_rules(choice, self)
        return by_sdpa(self, own, choice, *args, **kwargs)

    return forward
