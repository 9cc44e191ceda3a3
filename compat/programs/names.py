"""Ask transformers for FlashAttention in every way that projects use, and say what ran.

    python names.py OUT.json          every case that this version of transformers knows
    python names.py OUT.json plain    the same models by their own eager code, for their logits

Each case gives {"model", "operators", "logits"}, or {"error"}.
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
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM
from watch import Watch

VERSION = tuple(int(part) for part in transformers.__version__.split(".")[:2])
FLASH = "flash_attention_2"
IMAGE_TOKEN = 90
HUB_KERNEL = "kernels-community/flash-attn2"


def llama_config() -> Any:
    return LlamaConfig(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0,
    )  # fmt: skip


def clip_config() -> Any:
    return CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        image_size=28, patch_size=14,
    )  # fmt: skip


def llava_config() -> Any:
    from transformers import LlavaConfig

    extra = {"image_seq_length": 4} if VERSION >= (4, 45) else {}
    token = "image_token_id" if VERSION >= (4, 52) else "image_token_index"
    return LlavaConfig(
        vision_config=clip_config(), text_config=llama_config(), vision_feature_layer=-1,
        **{token: IMAGE_TOKEN}, **extra,
    )  # fmt: skip


class Fork(LlamaForCausalLM):
    """A project whose constructor overrides what the caller asked for."""

    def __init__(self, config: Any):
        config._attn_implementation = FLASH
        super().__init__(config)
        config._attn_implementation = FLASH


def with_late_write(folder: str) -> Any:
    model = LlamaForCausalLM.from_pretrained(folder)
    model.config._attn_implementation = FLASH
    return model


def with_private_write(folder: str) -> Any:
    config = LlamaConfig.from_pretrained(folder)
    config._attn_implementation = FLASH
    return LlamaForCausalLM.from_pretrained(folder, config=config)


def with_flash_class(folder: str) -> Any:
    """A project that builds transformers' FlashAttention class by hand."""
    from transformers.models.llama import modeling_llama

    model = LlamaForCausalLM.from_pretrained(folder)
    chosen = modeling_llama.LLAMA_ATTENTION_CLASSES[FLASH]
    for index, layer in enumerate(model.model.layers):
        by_hand = chosen(model.config, layer_idx=index)
        by_hand.load_state_dict(layer.self_attn.state_dict())
        layer.self_attn = by_hand
    return model.eval()


def after_setting(folder: str) -> Any:
    model = LlamaForCausalLM.from_pretrained(folder)
    model.set_attn_implementation(FLASH)
    return model


def cases() -> dict[str, tuple[str, Callable[[str], Any]]]:
    """{name: (which model, how to load it from its folder)}, as far as this version goes."""
    found: dict[str, tuple[str, Callable[[str], Any]]] = {
        "llama as it is": ("llama", LlamaForCausalLM.from_pretrained),
        "clip as it is": ("clip", CLIPVisionModel.from_pretrained),
    }
    if VERSION < (4, 36):
        return found
    from transformers import LlavaForConditionalGeneration as Llava

    found |= {
        "keyword": (
            "llama",
            lambda f: LlamaForCausalLM.from_pretrained(f, attn_implementation=FLASH),
        ),
        "private write": ("llama", with_private_write),
        "late write": ("llama", with_late_write),
        "constructor overrides": (
            "llama",
            lambda f: Fork.from_pretrained(f, attn_implementation="eager"),
        ),
        "llava keyword": ("llava", lambda f: Llava.from_pretrained(f, attn_implementation=FLASH)),
        "llava as it is": ("llava", Llava.from_pretrained),
    }
    if VERSION < (4, 54):
        found["old keyword"] = (
            "llama",
            lambda f: LlamaForCausalLM.from_pretrained(f, use_flash_attention_2=True),
        )
    if VERSION < (4, 48):
        found["flash class by hand"] = ("llama", with_flash_class)
    if VERSION >= (4, 45):
        found["clip keyword"] = (
            "clip",
            lambda f: CLIPVisionModel.from_pretrained(f, attn_implementation=FLASH),
        )
    if VERSION >= (4, 48):
        found |= {
            "dict": ("llava", with_dict({"text_config": FLASH, "vision_config": FLASH})),
            "dict of two minds": (
                "llava", with_dict({"text_config": FLASH, "vision_config": "eager"})
            ),
            "dict for the whole": ("llava", with_dict({"": FLASH})),
        }  # fmt: skip
    if VERSION >= (4, 57):
        found["hub kernel"] = (
            "llama",
            lambda f: LlamaForCausalLM.from_pretrained(f, attn_implementation=HUB_KERNEL),
        )
        found["FlashAttention 3"] = (
            "llama",
            lambda f: LlamaForCausalLM.from_pretrained(f, attn_implementation="flash_attention_3"),
        )
        found["set afterwards"] = ("llama", after_setting)
    return found


def with_dict(names: dict[str, str]) -> Callable[[str], Any]:
    """Loads LLaVA with a name for each part, as transformers takes it from 4.48."""
    from transformers import LlavaForConditionalGeneration as Llava

    return lambda folder: Llava.from_pretrained(folder, attn_implementation=dict(names))


def save_models(folder: Path) -> None:
    """The tiny models, from a fixed seed."""
    torch.manual_seed(0)
    LlamaForCausalLM(llama_config()).save_pretrained(folder / "llama")
    CLIPVisionModel(clip_config()).save_pretrained(folder / "clip")
    if VERSION >= (4, 36):
        from transformers import LlavaForConditionalGeneration

        LlavaForConditionalGeneration(llava_config()).save_pretrained(folder / "llava")


def run(kind: str, model: Any) -> torch.Tensor:
    """One forward pass on padded input; the numbers that are to agree."""
    model = model.eval()
    pictures = torch.linspace(-1, 1, 2 * 3 * 28 * 28).reshape(2, 3, 28, 28)
    if kind == "clip":
        return model(pixel_values=pictures).last_hidden_state
    tokens = torch.arange(1, 25).reshape(2, 12) % 80 + 1
    mask = torch.ones_like(tokens)
    mask[0, :3] = 0
    if kind == "llama":
        return model(input_ids=tokens, attention_mask=mask).logits[:, 3:]
    images = 4 if VERSION >= (4, 45) else 1
    tokens[:, 4 : 4 + images] = IMAGE_TOKEN
    return model(input_ids=tokens, attention_mask=mask, pixel_values=pictures).logits[:, -4:]


def main(target: Path, plain: bool) -> None:
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        save_models(Path(scratch))
        for name, (kind, load) in cases().items():
            if plain and not name.endswith("as it is"):
                continue
            try:
                model = load(f"{scratch}/{kind}")
                with torch.no_grad(), Watch() as seen:
                    numbers = run(kind, model)
                results[name] = {
                    "model": kind,
                    "operators": seen.operators,
                    "logits": numbers.flatten()[:200].tolist(),
                }
            except Exception as error:
                traceback.print_exc()
                results[name] = {"error": f"{type(error).__name__}: {error}"}
    target.write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "plain" in sys.argv[2:])
