"""The loss that gradients and training are judged by: the next token of the prompt itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from attnswitch.verification.passes import logits_of


def next_token_loss(model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
    """Cross entropy of each next token that is no padding and no picture, in float32 at least.

    Where a model has no tokens, or as many logits as none, the mean square of its output.
    """
    given = {name: value for name, value in inputs.items() if name != "labels"}
    logits = logits_of(model(**given))
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    ids = inputs.get("input_ids")
    if ids is None or logits.ndim != 3 or logits.shape[:2] != ids.shape:
        return logits.to(wide).square().mean()
    labels = ids[:, 1:].clone()
    labels[labels >= logits.shape[-1]] = -100
    mask = inputs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.shape == ids.shape:
        labels[mask[:, 1:] == 0] = -100
    config = getattr(model, "config", None)
    for name in ("image_token_id", "image_token_index"):
        number = getattr(config, name, None)
        if isinstance(number, int):
            labels[labels == number] = -100
    if bool((labels == -100).all()):
        return logits.to(wide).square().mean()
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].to(wide).flatten(0, 1), labels.flatten()
    )


class requiring_grad:
    """Frozen weights take gradients inside the block."""

    def __init__(self, weights: list[torch.Tensor]):
        self._frozen = [weight for weight in weights if not weight.requires_grad]

    def __enter__(self) -> None:
        """Let them."""
        for weight in self._frozen:
            weight.requires_grad_(True)

    def __exit__(self, *exception: object) -> None:
        """Freeze them again."""
        for weight in self._frozen:
            weight.requires_grad_(False)
