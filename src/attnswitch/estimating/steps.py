"""What a scenario runs, step by step, on any device: prefill, a decoded token, a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from attnswitch.estimating.scenario import Training

Inputs = Mapping[str, Any]


def prefill(model: Any, inputs: Inputs) -> Any:
    """The prompt once, as generation begins: keys and values kept, logits of the last token."""
    with torch.no_grad():
        return model(**inputs, logits_to_keep=1, use_cache=True)


def decode(model: Any, cache: Any, batch: int, device: str) -> Any:
    """One token [batch, 1] after a filled cache."""
    with torch.no_grad():
        token = torch.ones((batch, 1), dtype=torch.long, device=device)
        return model(input_ids=token, past_key_values=cache, use_cache=True, logits_to_keep=1)


def filled_cache(model: Any, batch: int, tokens: int, dtype: Any, device: str) -> Any:
    """A cache as `tokens` tokens leave it; its numbers are zeros."""
    from transformers import DynamicCache

    text = model.config.get_text_config()
    heads = text.num_attention_heads
    groups = getattr(text, "num_key_value_heads", None) or heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    cache = DynamicCache(config=text)
    for layer in range(text.num_hidden_layers):
        shape = (batch, groups, tokens, width)
        key, value = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        cache.update(key, value, layer)
    return cache


def tensors_of(cache: Any) -> list[torch.Tensor]:
    """Keys and values of a cache, layer by layer; its attributes changed over the versions."""
    layers = getattr(cache, "layers", None)
    if layers is not None:
        return [tensor for layer in layers for tensor in (layer.keys, layer.values)]
    return [*cache.key_cache, *cache.value_cache]


def forward_backward(model: Any, inputs: Inputs) -> None:
    """Loss and gradients, with the prompt as its own labels and no cache."""
    model(**inputs, labels=inputs["input_ids"], use_cache=False).loss.backward()


def make_optimizer(model: Any, training: Training, device: str) -> Any:
    """PyTorch's optimizer of the trained weights, or None.

    On CUDA AdamW updates all weights by one operation each (`foreach`, PyTorch's default there).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if training.optimizer == "adamw":
        return torch.optim.AdamW(trained, foreach=device != "cpu")
    if training.optimizer == "sgd":
        return torch.optim.SGD(trained, foreach=device != "cpu")
    return None
