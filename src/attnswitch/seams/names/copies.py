"""Projects' own copies of CLIP's and SigLIP's attention, with arithmetic of their own only.

LLaVA-NeXT carries its SigLIP tower as a private file, other forks their CLIP: no name and no
operator leads there. Such a class is known by what it is made of, not by its name, and is taken for
a copy only once its own forward and the one by way of SDPA have given the same on the first input
that it sees. One that gives something else keeps its own code: that is standard attention, and a
request that it does not meet is an error.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Any

from attnswitch import intent
from attnswitch.errors import UnavailableError
from attnswitch.seams.names import old_forwards
from attnswitch.seams.names.resolution import own_code_meets, refuse_rules
from attnswitch.types import Choice

# {what its forward takes: the same by way of SDPA}
_FORWARDS: dict[tuple[str, ...], Callable[..., Any]] = {
    ("hidden_states", "attention_mask", "output_attentions"): old_forwards.siglip,
    ("hidden_states", "attention_mask", "causal_attention_mask", "output_attentions"): (
        old_forwards.clip
    ),
}
_MADE_OF = {"q_proj", "k_proj", "v_proj", "out_proj", "num_heads", "head_dim", "scale", "dropout"}
_PRODUCTS, _SOFTMAX = {"matmul", "bmm"}, "softmax"
_LEADS_ELSEWHERE = ("scaled_dot_product_attention", "flash_attn", "_flash_attention_forward")
# Largest root-mean-square difference, relative: each has its own roundings, another formula is
# far beyond it.
_ALLOWED = {"torch.float32": 1e-3, "torch.float16": 0.02, "torch.bfloat16": 0.1}

_TRIED_BY = Choice("math", "math", "attnswitch", "is this a copy?")

_seen: set[str] = set()
_reached: set[str] = set()
_logger = logging.getLogger("attnswitch")


def reaches(model_class: Any) -> bool:
    """Whether a project's model class comes with a copy that is redirected here."""
    redirect(model_class)
    return any(klass.__module__ in _reached for klass in model_class.__mro__)


def redirect(model_class: Any) -> None:
    """Redirect the copies beside a project's model class, if that is not done yet."""
    for klass in model_class.__mro__:
        home = klass.__module__
        if home not in _seen and not home.startswith(("transformers.", "torch.", "builtins")):
            module = sys.modules.get(home)
            if module is not None:  # a file that was executed by hand need not be there
                _seen.add(home)
                _redirect(module)


def _redirect(module: Any) -> None:
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            by_sdpa = _counterpart(value)
            if by_sdpa is not None:
                value.forward = _switched(value, value.forward, by_sdpa)  # type: ignore[attr-defined]
                _reached.add(module.__name__)


def _counterpart(klass: type) -> Callable[..., Any] | None:
    """What computes the same as a class's forward by way of SDPA; None for other classes."""
    forward, build = vars(klass).get("forward"), vars(klass).get("__init__")
    code, made = getattr(forward, "__code__", None), getattr(build, "__code__", None)
    if forward is None or code is None or made is None or klass.__subclasses__():
        return None  # one that others are made from has its SDPA form beside it
    uses = {*code.co_names, *code.co_varnames}
    written_out = _PRODUCTS & uses and _SOFTMAX in uses
    elsewhere = any(word in name for name in uses for word in _LEADS_ELSEWHERE)
    if not written_out or elsewhere or not set(made.co_names) >= _MADE_OF:
        return None
    return _FORWARDS.get(tuple(inspect.signature(forward).parameters)[1:])


def _switched(klass: type, own: Callable[..., Any], by_sdpa: Callable[..., Any]) -> Any:
    is_copy: bool | None = None

    @functools.wraps(own)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal is_copy
        choice = intent.of_call()
        if choice is None or choice.backend in ("auto", "eager"):
            return own(self, *args, **kwargs)
        refuse_rules(choice, self)
        if is_copy is None:
            is_copy = _gives_the_same(self, own, by_sdpa, args, kwargs)
            if not is_copy:
                _logger.warning("%s: not what its code looks like; its own arithmetic runs",
                                klass.__name__)  # fmt: skip
        if is_copy:
            return by_sdpa(self, own, choice, *args, **kwargs)
        if not own_code_meets(choice):
            raise UnavailableError(
                f"{choice.source} asks for {choice.requested!r}, but {klass.__name__} has "
                "attention code of its own, which gives something else than SDPA",
                remedy="Ask for 'standard' or 'auto'",
            )
        return own(self, *args, **kwargs)

    return forward


def _gives_the_same(self: Any, own: Any, by_sdpa: Any, args: Any, kwargs: Any) -> bool:
    """Compare the two forwards on this input, without dropout; SDPA's by plain arithmetic."""
    import torch

    training = self.training
    self.training = False
    intent.push_thread(_TRIED_BY)
    try:
        with torch.no_grad(), torch.profiler.record_function(intent.TRIAL):
            wanted = own(self, *args, **kwargs)[0]
            found = by_sdpa(self, own, _TRIED_BY, *args, **kwargs)[0]
    finally:
        intent.pop_thread()
        self.training = training
    off = (found.float() - wanted.float()).pow(2).mean().sqrt()
    allowed = _ALLOWED.get(str(wanted.dtype), 1e-3)
    return bool(off <= allowed * wanted.float().pow(2).mean().sqrt())
