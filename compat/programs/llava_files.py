"""Write what LLaVA's training needs to a folder: tokenizer, tiny Llama, tiny CLIP, data.

    python llava_files.py FOLDER

Random weights from a fixed seed, so that every run starts from the same model, and wide, so that
it shows in the loss which tokens a row attends to.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy
import sentencepiece
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
)

VOCABULARY = 400
SAMPLES = 40
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
SHAPES = ("square", "circle", "line")


def write_all(folder: Path) -> None:
    """Everything under `folder`: llm/, clip/, data.json and images/."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder)
    torch.manual_seed(0)
    llama = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(llama).save_pretrained(folder / "llm")
    clip = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
        image_size=28, patch_size=14, initializer_factor=3.0,
    )  # fmt: skip
    CLIPVisionModel(clip).save_pretrained(folder / "clip")
    size = {"height": 28, "width": 28}
    CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=size).save_pretrained(folder / "clip")
    _write_data(folder)


def _write_tokenizer(folder: Path) -> None:
    text = folder / "corpus.txt"
    lines = [f"USER: what is this? ASSISTANT: a {c} {s}." for c in COLOURS for s in SHAPES]
    letters = [" ".join("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:?!<>'-")]
    text.write_text("\n".join((lines + letters) * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "spm"), vocab_size=VOCABULARY,
        byte_fallback=True, model_type="bpe", hard_vocab_limit=False, minloglevel=2,
        pad_id=-1, unk_id=0, bos_id=1, eos_id=2,
    )  # fmt: skip
    LlamaTokenizer(str(folder / "spm.model"), legacy=True).save_pretrained(folder / "llm")


def _write_data(folder: Path) -> None:
    chance = random.Random(0)
    (folder / "images").mkdir(exist_ok=True)
    records = []
    for index in range(SAMPLES):
        colour, shape = chance.choice(list(COLOURS)), chance.choice(SHAPES)
        pixels = numpy.full((28, 28, 3), COLOURS[colour], dtype=numpy.uint8)
        pixels[: chance.randint(2, 20)] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
        # Answers of unequal length, so that batches are padded.
        answer = " ".join([f"a {colour} {shape}"] * chance.randint(1, 4))
        turns = [
            {"from": "human", "value": "<image>\nwhat is this?"},
            {"from": "gpt", "value": answer + "."},
        ]
        records.append({"id": str(index), "image": f"{index}.png", "conversations": turns})
    (folder / "data.json").write_text(json.dumps(records))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
