"""Load a LLaVA folder by LLaVA's own loader, answer in inference mode and train, under a trace.

    python llava_traced.py MODEL_FOLDER FILES OUT.json

Writes {"inference": receipts, "training": receipts}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from llava.constants import IMAGE_TOKEN_INDEX
from llava.mm_utils import tokenizer_image_token
from llava.model.builder import load_pretrained_model
from PIL import Image

import attnswitch

PROMPT = "USER: <image>\nwhat is this? ASSISTANT:"


def main(model_folder: str, files: Path, target: Path) -> None:
    tokenizer, model, processor, _ = load_pretrained_model(
        model_folder, None, "llava-tiny", device="cpu"
    )
    model = model.float()
    pictures = Image.open(files / "images" / "0.png")
    images = processor.preprocess(pictures, return_tensors="pt")["pixel_values"].float()
    tokens = tokenizer_image_token(PROMPT, tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt")[None]
    with attnswitch.trace(model) as inference, torch.inference_mode():
        model.generate(tokens, images=images, do_sample=False, max_new_tokens=8,
                       min_new_tokens=8, use_cache=True)  # fmt: skip
    model.train()
    with attnswitch.trace(model) as training:
        for _ in range(2):
            model(input_ids=tokens, images=images, labels=tokens).loss.backward()
    record = {"inference": inference.to_json(), "training": training.to_json()}
    target.write_text(json.dumps({name: one["receipts"] for name, one in record.items()}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
