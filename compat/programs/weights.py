"""Ask models for their attention weights, which only their own code has, and say what ran.

    python weights.py OUT.json

Each model gives {"shape", "operators"} of its first layer's weights, or {"error"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from names import clip_config, llama_config
from transformers import CLIPVisionModel, LlamaForCausalLM
from watch import Watch

TOKENS = torch.arange(1, 9)[None]
CASES: dict[str, tuple[Any, dict[str, torch.Tensor]]] = {
    "llama": (lambda: LlamaForCausalLM(llama_config()), {"input_ids": TOKENS}),
    "clip": (lambda: CLIPVisionModel(clip_config()), {"pixel_values": torch.ones(1, 3, 28, 28)}),
}


def main(target: Path) -> None:
    found: dict[str, dict[str, Any]] = {}
    for name, (build, given) in CASES.items():
        try:
            with torch.no_grad(), Watch() as seen:
                weights = build().eval()(**given, output_attentions=True).attentions[0]
            found[name] = {"shape": list(weights.shape), "operators": seen.operators}
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    target.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
