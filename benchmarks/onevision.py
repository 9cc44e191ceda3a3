"""End to end: the LLaVA-OneVision-0.5B geometry with `blockwise` against PyTorch's FlashAttention.

SigLIP-so400m and Qwen2-0.5B with random weights, bf16, 2,980 tokens: four views of 729 tokens, 27
ends of rows, 37 of text.

python benchmarks/onevision.py             prefill and training step, interleaved, with peak memory
python benchmarks/onevision.py --layers 4  a rehearsal with fewer layers
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import attnswitch
from attnswitch.bench.memory import peak_bytes
from attnswitch.bench.statistics import estimate, ratio
from attnswitch.bench.timing import Stop, interleave

REQUESTS = {"flash": "flash", "blockwise": "blockwise"}
TEXT_TOKENS = 37


def main(arguments: list[str] | None = None) -> int:
    """Measure and print one JSON document; also written to --output."""
    options = _parser().parse_args(arguments)
    torch.manual_seed(0)
    model = build(options.layers)
    inputs = make_inputs(model)
    stop = Stop(options.least, options.rounds, options.seconds)
    found: dict[str, Any] = {
        "schema": "attnswitch.onevision/1", "torch": torch.__version__,
        "threads": torch.get_num_threads(), "tokens": sequence_length(model, inputs),
        "layers": options.layers,
    }  # fmt: skip
    for name, call in (("prefill", prefill), ("training_step", training_step)):
        if name in options.part:
            found[name] = compare(lambda call=call: call(model, inputs), stop)
            print(json.dumps({name: {k: v for k, v in found[name].items() if k != "samples"}}))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, help="layers of each tower; default: all")
    parser.add_argument("--least", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--part", nargs="+", default=["prefill", "training_step"])
    parser.add_argument("--output", type=Path, default=Path("docs/measured/onevision.json"))
    return parser


def build(layers: int | None, dtype: torch.dtype = torch.bfloat16) -> Any:
    """Return the model with random weights in `dtype`, attention through SDPA."""
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

    config = LlavaOnevisionConfig(
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
            "num_hidden_layers": layers or 26, "num_attention_heads": 16, "image_size": 384,
            "patch_size": 14, "vision_use_head": False,
        },
        text_config={
            "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
            "num_hidden_layers": layers or 24, "num_attention_heads": 14,
            "num_key_value_heads": 2, "vocab_size": 152000, "max_position_embeddings": 32768,
        },
        image_token_index=151646, vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=[[384, 1152]],
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    return LlavaOnevisionForConditionalGeneration(config).to(dtype).eval()


def make_inputs(model: Any) -> dict[str, torch.Tensor]:
    """Return one picture of 384×1152 (a base view and three crops) and a short prompt."""
    pixels = torch.randn(1, 4, 3, 384, 384, dtype=model.dtype)
    sizes = torch.tensor([[384, 1152]])
    with torch.no_grad():
        features = model.get_image_features(pixel_values=pixels, image_sizes=sizes)
    features = getattr(features, "pooler_output", features)
    count = sum(part.shape[0] for part in features)
    image = torch.full((1, count), model.config.image_token_index)
    text = torch.randint(0, 150_000, (1, TEXT_TOKENS))
    tokens = torch.cat([text[:, :14], image, text[:, 14:]], 1)
    return {
        "input_ids": tokens, "attention_mask": torch.ones_like(tokens),
        "pixel_values": pixels, "image_sizes": sizes,
    }  # fmt: skip


def sequence_length(model: Any, inputs: dict[str, torch.Tensor]) -> int:
    """Return how many tokens the language model sees."""
    return int(inputs["input_ids"].shape[1])


def prefill(model: Any, inputs: dict[str, torch.Tensor]) -> Any:
    """Run the prompt once, as the first step of generation does."""
    with torch.no_grad():
        return model(**inputs, logits_to_keep=1, use_cache=True).logits


def training_step(model: Any, inputs: dict[str, torch.Tensor]) -> None:
    """Run forward and backward on all weights, with the prompt as its own labels."""
    model.zero_grad(set_to_none=True)
    labels = inputs["input_ids"].masked_fill(
        inputs["input_ids"] == model.config.image_token_index, -100
    )
    model(**inputs, labels=labels, use_cache=False).loss.backward()
    model.zero_grad(set_to_none=True)


def compare(call: Callable[[], Any], stop: Stop) -> dict[str, Any]:
    """Time and weigh one call under each request."""

    def under(request: str) -> Callable[[], Any]:
        def run() -> Any:
            with attnswitch.use(request):
                return call()

        return run

    calls = {name: under(request) for name, request in REQUESTS.items()}
    samples = interleave(calls, stop).seconds
    peaks = {name: peak_bytes(call) for name, call in calls.items()}
    return {
        "seconds": {name: estimate(times)._asdict() for name, times in samples.items()},
        "blockwise_over_flash": ratio(samples["blockwise"], samples["flash"])._asdict(),
        "peak_bytes": peaks, "peak_over_flash": peaks["blockwise"] / peaks["flash"],
        "samples": samples,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
