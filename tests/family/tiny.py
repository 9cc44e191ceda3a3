"""What a tiny model is: its class, its pictures, and the prompts that go with them.

Weights are random and seeded. Logits get a wider spread than random weights give (the embeddings
are scaled up), so that attention is peaked enough for a wrong mask to show.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import torch

VOCABULARY = 120
IMAGE_TOKEN = 100
PAD_TOKEN = 0

TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": PAD_TOKEN,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}

Tensors = dict[str, torch.Tensor]


def pixels(*shape: int) -> torch.Tensor:
    """Seeded pixels in [-1, 1]; no two pictures are alike."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(11)) * 2 - 1


def flat_pictures(prompts: int, each: int) -> Tensors:
    """pixel_values [prompts * each, 3, 28, 28]: what most of the family takes."""
    return {"pixel_values": pixels(prompts * each, 3, 28, 28)}


def nested_pictures(prompts: int, each: int) -> Tensors:
    """pixel_values [prompts, each, 3, 28, 28]: one list of pictures for each prompt."""
    return {"pixel_values": pixels(prompts, each, 3, 28, 28)}


@dataclasses.dataclass(frozen=True)
class Tiny:
    """One model class: `config()` makes its tiny configuration, `pictures(prompts, each)` its
    picture tensors; each picture takes `picture_tokens` image tokens of the prompt.

    `frame` holds the tokens before and after each picture, `extra` makes further tensors from
    the token ids. `in_float64` names the module that can compute in float64, "" for the whole model
    and None where only attention can.
    """

    model_type: str
    config: Callable[[], Any]
    picture_tokens: int
    pictures: Callable[[int, int], Tensors] = flat_pictures
    frame: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    extra: Callable[[torch.Tensor], Tensors] = lambda input_ids: {}
    in_float64: str | None = ""

    def model(self, dtype: torch.dtype = torch.float32) -> Any:
        """The model with seeded weights, in eval mode."""
        from transformers import AutoModelForImageTextToText

        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(self.config())
        if hasattr(model, "set_experts_implementation"):
            model.set_experts_implementation("eager")  # the grouped kernel takes no float64
        _spread(model)
        return _cast(model.eval(), dtype)

    def inputs(self, prompts: int, each: int, padding: str, dtype: torch.dtype) -> Tensors:
        """A batch of `prompts` prompts with `each` pictures; all but the first are shorter and
        padded on the given side ("left", "right")."""
        rows = [self._prompt(index, each) for index in range(prompts)]
        longest = max(len(row) for row in rows)
        ids = torch.full((prompts, longest), PAD_TOKEN)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            start = longest - len(row) if padding == "left" else 0
            ids[index, start : start + len(row)] = torch.tensor(row)
            mask[index, start : start + len(row)] = 1
        tensors = {"input_ids": ids, "attention_mask": mask, **self.pictures(prompts, each)}
        tensors |= self.extra(ids)
        return {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }

    def _prompt(self, index: int, each: int) -> list[int]:
        before, after = self.frame
        picture = [*before, *[IMAGE_TOKEN] * self.picture_tokens, *after]
        words = [5 + (7 * index + 3 * step) % 60 for step in range(9 - 4 * (index % 2))]
        return [1, *picture * each, *words]


def _cast(model: Any, dtype: torch.dtype) -> Any:
    """The model in `dtype`, but for what transformers keeps in float32 when it loads a model."""
    model.to(dtype)
    if dtype in (torch.bfloat16, torch.float16):
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if any(re.search(kept, name) for kept in model._keep_in_fp32_modules_strict or ()):
                tensor.data = tensor.data.float()
    return model


def _spread(model: Any) -> None:
    """Scale random matrices up, so that attention is not flat and a wrong mask changes logits."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() == 1 and not parameter.any():
                parameter.fill_(0.5)  # a closed gate, behind which nothing would show
            elif parameter.ndim >= 2:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * 1.4 / parameter[0].numel() ** 0.5)
