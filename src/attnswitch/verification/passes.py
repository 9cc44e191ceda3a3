"""A pass of a model that can be repeated under every request: a prompt, and tokens after it.

Tokens are dictated, so that every run decodes the same and logits can be compared step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.errors import ModelInputError


@dataclass(frozen=True)
class Pass:
    """Inputs as `model(**inputs)` takes them, and the tokens to dictate after the prompt."""

    inputs: Mapping[str, Any]
    tokens: tuple[int, ...] = ()

    @property
    def padding(self) -> torch.Tensor | None:
        """[B, T] bool, False at padding; None where the inputs have no such mask."""
        mask = self.inputs.get("attention_mask")
        is_plain = isinstance(mask, torch.Tensor) and mask.ndim == 2
        return mask.bool() if is_plain else None  # type: ignore[union-attr]

    @property
    def ends_in_padding(self) -> bool:
        """Whether some sequence is padded on the right, so that nothing can follow it."""
        padding = self.padding
        return padding is not None and not bool(padding[:, -1].all())

    def run(self, model: Any, inputs: Mapping[str, Any] | None = None) -> torch.Tensor:
        """Logits [rows, V]: of each dictated step, or of one forward at rows that are no padding.

        `inputs` stands for the pass's own, in another precision.
        """
        inputs = self.inputs if inputs is None else inputs
        with torch.no_grad():
            if self.generates(model):
                return self._dictated(model, inputs)
            logits = logits_of(model(**inputs))
        padding = self.padding
        fits = padding is not None and logits.shape[:2] == padding.shape
        return logits[padding] if fits else logits.flatten(0, -2)

    def generates(self, model: Any) -> bool:
        """Whether the model generates from these inputs (otherwise it runs forward once)."""
        can = getattr(model, "can_generate", None)
        return bool(can and can()) and "input_ids" in self.inputs and not self.ends_in_padding

    def _dictated(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        start = inputs["input_ids"].shape[1]
        steps = max(1, len(self.tokens))
        tokens = self.tokens or (0,)
        out = model.generate(
            **inputs, max_new_tokens=steps, min_new_tokens=steps, do_sample=False, num_beams=1,
            prefix_allowed_tokens_fn=lambda _, ids: [tokens[min(len(ids) - start, steps - 1)]],
            return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        return torch.cat(list(out.logits))


def logits_of(output: Any) -> torch.Tensor:
    """The logits, or the first tensor, of what a model returned: [B, T, V].

    Raises:
        ModelInputError: there is no tensor in it.
    """
    found = getattr(output, "logits", None)
    if found is None and isinstance(output, (tuple, list)):
        found = next((part for part in output if isinstance(part, torch.Tensor)), None)
    if found is None and isinstance(output, torch.Tensor):
        found = output
    if found is None:
        found = getattr(output, "last_hidden_state", None)
    if found is None or found.ndim < 2:
        raise ModelInputError(f"the model returns no logits to judge, but {type(output).__name__}")
    return found


def greedy(model: Any, inputs: Mapping[str, Any], max_new_tokens: int) -> list[int]:
    """The new tokens of the first sequence, greedily."""
    with torch.inference_mode():
        out = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1)
    return out[0, inputs["input_ids"].shape[1] :].tolist()
