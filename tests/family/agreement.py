"""Logits of one tiny model under several requests, judged by the rule."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cache
from typing import Any

import torch

from attnswitch.switch import RequestLike, apply
from attnswitch.verification.answering import REFERENCE, YARDSTICK
from attnswitch.verification.nudging import rounded_otherwise
from attnswitch.verification.precise import one_precision_up, upcast
from attnswitch.verification.rule import Judgement, judge_beside

from .tiny import Tensors, Tiny

STEPS = 3  # decoded tokens, given ones, so that every run decodes the same

# Every scene is (prompts, pictures a prompt, padding side, decoded or prefilled only).
SCENES = {
    "one prompt, one picture": (1, 1, "left", False),
    "left padding": (2, 1, "left", False),
    "right padding": (2, 1, "right", False),
    "several pictures": (2, 2, "left", False),
    "generate with a cache": (2, 1, "left", True),
}
ALL_SCENES = tuple(SCENES)
WHOLE = ("",)  # the parts of a model that are switched: all of it


@cache
def model_of(tiny: Tiny, dtype: torch.dtype) -> Any:
    """The model of a class, built once; every request on it is undone."""
    return tiny.model(dtype)


def switched(model: Any, request: RequestLike, parts: tuple[str, ...] = WHOLE) -> ExitStack:
    """`request` applied to each of the model's `parts` (module paths), until the stack closes."""
    stack = ExitStack()
    for path in parts:
        stack.enter_context(apply(model.get_submodule(path), request))
    return stack


def judged(
    tiny: Tiny,
    dtype: torch.dtype,
    requests: tuple[str, ...],
    scenes: tuple[str, ...] = ALL_SCENES,
    parts: tuple[str, ...] = WHOLE,
) -> dict[tuple[str, str], Judgement]:
    """{(request, scene): judgement of the logits}; padding rows are left out.

    The reference computes the whole model one precision up, and its attention in float64; where
    a model casts to float32 itself, what of it can compute in float64. Before anything is said to
    fail, the yardstick runs again, rounded otherwise.
    """
    model = model_of(tiny, dtype)
    with more_precisely(tiny, model, dtype) as up, switched(model, REFERENCE, parts):
        references = logits_of(tiny, model, dtype, scenes, up)

    def standard() -> dict[str, torch.Tensor]:
        with switched(model, YARDSTICK, parts):
            return logits_of(tiny, model, dtype, scenes, dtype)

    yardsticks = [standard()]
    found = {}
    for request in requests:
        with switched(model, request, parts):
            candidates = logits_of(tiny, model, dtype, scenes, dtype)
        if not all(j.passes for j in beside(candidates, yardsticks, references).values()):
            yardsticks += rounded_otherwise(model, standard)
        for scene, judgement in beside(candidates, yardsticks, references).items():
            found[request, scene] = judgement
    return found


def more_precisely(tiny: Tiny, model: Any, dtype: torch.dtype) -> AbstractContextManager:
    """Compute one precision up what can be; gives the dtype of the inputs."""
    if dtype != torch.float32:
        return one_precision_up(model)
    if tiny.in_float64 is None:
        return nullcontext(dtype)
    return one_precision_up(model.get_submodule(tiny.in_float64))


def beside(
    candidates: Tensors, yardsticks: list[Tensors], references: Tensors
) -> dict[str, Judgement]:
    """{scene: judgement with the largest of the yardsticks' errors}."""
    return {
        scene: judge_beside(candidates[scene], [y[scene] for y in yardsticks], reference)
        for scene, reference in references.items()
    }


def logits_of(
    tiny: Tiny, model: Any, rounded: torch.dtype, scenes: tuple[str, ...], given: torch.dtype
) -> dict[str, torch.Tensor]:
    """{scene: logits [rows that count, vocabulary]}; inputs are rounded to one dtype and then
    given in another."""
    found = {}
    with torch.no_grad():
        for scene in scenes:
            prompts, each, padding, decoded = SCENES[scene]
            inputs = upcast(tiny.inputs(prompts, each, padding, rounded), given)
            found[scene] = (decoded_logits if decoded else prefill_logits)(model, inputs)
    return found


def prefill_logits(model: Any, inputs: Tensors) -> torch.Tensor:
    """Logits of one forward, at the tokens that are no padding.

    Where a picture's features stand before the prompt (git), theirs are left out.
    """
    logits, mask = model(**inputs).logits, inputs["attention_mask"].bool()
    return logits[:, -mask.shape[1] :][mask]


def decoded_logits(model: Any, inputs: Tensors) -> torch.Tensor:
    """Logits of `generate` with its cache, while the tokens are dictated: [STEPS * B, V]."""
    start = inputs["input_ids"].shape[1]
    out = model.generate(
        **inputs,
        max_new_tokens=STEPS,
        min_new_tokens=STEPS,
        do_sample=False,
        use_cache=True,
        prefix_allowed_tokens_fn=lambda _, ids: [7 + 2 * (len(ids) - start)],
        return_dict_in_generate=True,
        output_logits=True,
    )
    return torch.cat(out.logits)
