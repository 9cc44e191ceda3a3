"""Packed rows on the FlashAttention path, in every way that projects pack them, and what came out.

    python packing.py OUT.json          each way that this version of transformers knows
    python packing.py OUT.json plain    the two sequences by themselves, by the model's eager code

Two sequences lie in one row. Each case gives {"operators", "logits", "gradient"}, or {"error"};
plain also gives "across": the row as one sequence, which is what a lost packing would compute.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from names import FLASH, VERSION, llama_config
from transformers import LlamaForCausalLM
from watch import Watch

LENGTHS = (5, 7)
TOKENS = torch.arange(3, 3 + 3 * sum(LENGTHS), 3)[None] % 80 + 1
RESTARTING = torch.cat([torch.arange(n) for n in LENGTHS])[None]
ENDS = torch.tensor([0, LENGTHS[0], sum(LENGTHS)], dtype=torch.int32)
Case = Callable[[str], tuple[Any, dict[str, Any]]]


def load(folder: str, name: str = FLASH) -> Any:
    return LlamaForCausalLM.from_pretrained(folder, attn_implementation=name)


def by_position_ids(folder: str) -> tuple[Any, dict[str, Any]]:
    """transformers' own way: positions that start again (DataCollatorWithFlattening)."""
    return load(folder), {"position_ids": RESTARTING}


def by_lengths(folder: str) -> tuple[Any, dict[str, Any]]:
    """Lengths as keywords; positions run on, which rotary embedding does not mind."""
    longest = max(LENGTHS)
    return load(folder), {
        "cu_seq_lens_q": ENDS, "cu_seq_lens_k": ENDS, "max_length_q": longest,
        "max_length_k": longest,
    }  # fmt: skip


def own_unpadding(mask: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, torch.Tensor, int]:
    """VILA's in the place of `_get_unpad_data`: lengths that it was told, not the mask's."""
    kept = torch.nonzero(mask.flatten(), as_tuple=False).flatten()
    return kept, ENDS, max(LENGTHS)


def patch_unpadding() -> None:
    if VERSION < (4, 43):
        from transformers.models.llama import modeling_llama as module
    else:
        from transformers import modeling_flash_attention_utils as module
    module._get_unpad_data = own_unpadding


def padded() -> dict[str, Any]:
    """The row with one token of padding at its end, without which nothing is unpadded."""
    mask = torch.ones(1, sum(LENGTHS) + 1, dtype=torch.long)
    mask[0, -1] = 0
    return {"input_ids": torch.cat([TOKENS, TOKENS[:, :1]], 1), "attention_mask": mask}


def by_unpadding_patched_before(folder: str) -> tuple[Any, dict[str, Any]]:
    patch_unpadding()
    return load(folder), padded()


def by_unpadding_patched_after(folder: str) -> tuple[Any, dict[str, Any]]:
    model = load(folder)
    patch_unpadding()
    return model, padded()


def packed_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """A project's own call of the package, [1, N, H, D] in and out, imported without a guard."""
    from flash_attn.flash_attn_interface import flash_attn_varlen_func

    longest = max(LENGTHS)
    flat = (t.squeeze(0) for t in (q, k, v))
    return flash_attn_varlen_func(*flat, ENDS, ENDS, longest, longest, causal=True)[None]


def by_own_class(folder: str) -> tuple[Any, dict[str, Any]]:
    """InternVL's way: a class of its own in transformers' table, lengths in place of the mask."""
    from transformers.models.llama import modeling_llama as module

    class LlamaFlashAttention2ForPackedTraining(module.LlamaFlashAttention2):
        def _flash_attention_forward(self, q: Any, k: Any, v: Any, mask: Any, *_: Any, **__: Any):
            assert mask.squeeze(0).tolist() == ENDS.tolist()
            return packed_attention(q, k, v)

    table = module.LLAMA_ATTENTION_CLASSES
    own, table[FLASH] = table[FLASH], LlamaFlashAttention2ForPackedTraining
    try:
        return load(folder), {"attention_mask": ENDS[None]}
    finally:
        table[FLASH] = own


def by_own_helper(folder: str) -> tuple[Any, dict[str, Any]]:
    """A function of its own in the place of transformers' `_flash_attention_forward`."""
    from transformers.models.llama import modeling_llama as module

    module._flash_attention_forward = lambda q, k, v, *_, **__: packed_attention(q, k, v)
    return load(folder), {}


def own_function(module: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> tuple[Any, None]:
    return packed_attention(*(t.transpose(1, 2) for t in (q, k, v))), None


def by_own_function(folder: str) -> tuple[Any, dict[str, Any]]:
    """A function of its own registered under transformers' name."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as TABLE

    own, TABLE[FLASH] = TABLE[FLASH], own_function
    try:
        model = load(folder)
        model(TOKENS)
        return model, {}
    finally:
        if VERSION < (4, 48):
            TABLE[FLASH] = own


def by_own_name(folder: str) -> tuple[Any, dict[str, Any]]:
    """The same under a name of its own."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as TABLE

    TABLE["packed_rows"] = own_function
    return load(folder, "packed_rows"), {}


def cases() -> dict[str, Case]:
    """{name: (the model, what it is given)}, as far as this version goes; patches stay, so last."""
    found: dict[str, Case] = {}
    if VERSION >= (4, 44):
        found["position ids"] = by_position_ids
    if VERSION >= (4, 48):
        found |= {"lengths": by_lengths, "own name": by_own_name}
    if VERSION < (4, 43):
        found["own class"] = by_own_class
    found |= {
        "own unpadding, after": by_unpadding_patched_after,
        "own unpadding, before": by_unpadding_patched_before,
    }
    if (4, 43) <= VERSION < (4, 48):
        found["own helper"] = by_own_helper
    if VERSION >= (4, 48):
        found["own function"] = by_own_function
    return found


def run(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    """One training step on the packed row: logits, and the gradient of the embedding."""
    model.train()
    with Watch() as seen:
        logits = model(**{"input_ids": TOKENS, **given}).logits[:, : sum(LENGTHS)]
    return {"operators": seen.operators, **numbers(model, logits)}


def numbers(model: Any, logits: torch.Tensor) -> dict[str, Any]:
    """Logits, and a gradient that every one of them has a part in."""
    (logits.float() * torch.linspace(-1, 1, logits.numel()).reshape(logits.shape)).sum().backward()
    gradient = model.get_input_embeddings().weight.grad
    return {"logits": logits.flatten().tolist(), "gradient": gradient[TOKENS[0]].flatten().tolist()}


def plain(folder: str) -> dict[str, Any]:
    """Both sequences by themselves, and the row as one sequence."""
    model = load(folder, "eager")
    parts = [model(part, use_cache=False).logits for part in TOKENS.split(LENGTHS, dim=1)]
    apart = numbers(model, torch.cat(parts, dim=1))
    model.zero_grad()
    return {"apart": apart, "across": numbers(model, model(TOKENS, use_cache=False).logits)}


def main(target: Path, by_itself: bool) -> None:
    results: dict[str, Any] = {}
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        config = llama_config()
        config.initializer_range = 0.3  # so that attention to the wrong tokens shows
        LlamaForCausalLM(config).save_pretrained(folder)
        if by_itself:
            results = plain(folder)
        for name, case in {} if by_itself else cases().items():
            try:
                results[name] = run(*case(folder))
            except Exception as error:
                traceback.print_exc()
                results[name] = {"error": f"{type(error).__name__}: {error}"}
    target.write_text(json.dumps(results))


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    main(Path(sys.argv[1]), "plain" in sys.argv[2:])
