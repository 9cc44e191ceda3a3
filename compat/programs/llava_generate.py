"""Load a LLaVA folder by LLaVA's own loader, generate from a picture, and say what ran.

    python llava_generate.py MODEL_FOLDER FILES OUT.json [plain]

FlashAttention is asked for (`use_flash_attn=True`) unless `plain`; LLaVA 1.1 has no such option.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import torch
from llava.constants import IMAGE_TOKEN_INDEX
from llava.mm_utils import tokenizer_image_token
from llava.model.builder import load_pretrained_model
from PIL import Image
from watch import Watch

PROMPT = "USER: <image>\nwhat is this? ASSISTANT:"


def main(model_folder: str, files: Path, target: Path, plain: bool) -> None:
    options = {} if plain else {"use_flash_attn": True}
    if "use_flash_attn" not in inspect.signature(load_pretrained_model).parameters:
        options = {}
    tokenizer, model, processor, _ = load_pretrained_model(
        model_folder, None, "llava-tiny", device="cpu", **options
    )
    model = model.float()  # half precision on a CPU would only blur the comparison
    pictures = Image.open(files / "images" / "0.png")
    images = processor.preprocess(pictures, return_tensors="pt")["pixel_values"].float()
    tokens = tokenizer_image_token(PROMPT, tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt")
    with Watch() as seen, torch.inference_mode():
        logits = model(input_ids=tokens[None], images=images).logits
        answer = model.generate(
            tokens[None], images=images, do_sample=False, max_new_tokens=8, use_cache=True
        )
    record = {
        "operators": seen.operators,
        "answer": answer[0].tolist(),
        "logits": logits[0, -1].tolist(),
    }
    target.write_text(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), "plain" in sys.argv[4:])
