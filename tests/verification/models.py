"""Tiny models for `verify`, with logits as wide as a test wants them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.core import tiny_llava


def llava(dtype: torch.dtype = torch.float32, logit_scale: float = 1.0) -> Any:
    """The tiny LLaVA; random weights give nearly uniform attention, so queries and keys are
    widened until the logits of every layer have about the given scale."""
    model = tiny_llava.build()
    model.generation_config.eos_token_id = None
    widen(model, tiny_llava.inputs(), logit_scale)
    return model.to(dtype)


def inputs(dtype: torch.dtype = torch.float32) -> list[dict[str, torch.Tensor]]:
    """One prompt, and a batch padded on the left."""
    both = [tiny_llava.inputs(), tiny_llava.padded_inputs("left")]
    return [{**one, "pixel_values": one["pixel_values"].to(dtype)} for one in both]


def llama(layers: int, *, positions: int = 256, logit_scale: float = 1.0,
          dtype: torch.dtype = torch.float32) -> Any:  # fmt: skip
    """A decoder of so many layers, two heads of width 8."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, vocab_size=64, max_position_embeddings=positions, head_dim=8,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    widen(model, prompt(24), logit_scale)
    return model.to(dtype)


def prompt(tokens: int) -> dict[str, torch.Tensor]:
    """One prompt of so many seeded tokens."""
    ids = torch.randint(3, 60, (1, tokens), generator=torch.Generator().manual_seed(2))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def widen(model: Any, given: dict[str, torch.Tensor], logit_scale: float) -> None:
    """Scale the query weights, layer by layer, until the logits have the given scale."""
    from attnswitch.sites import find_sites
    from attnswitch.verification.every_site import LocalErrors

    with torch.no_grad():
        for path, (_, module) in find_sites(model).items():
            module.v_proj.weight.mul_(20.0)  # so that attention matters beside the residual
            watched = LocalErrors({})
            watched.watch(model, lambda: model(**given))
            now = next(s for s in watched.sites.values() if s.site.path == path)
            factor = logit_scale / now.statistics.logit_scale
            module.q_proj.weight.mul_(factor)
            if getattr(module.q_proj, "bias", None) is not None:
                module.q_proj.bias.mul_(factor)
