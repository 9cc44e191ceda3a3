"""What is to be foretold: a geometry, an input, and inference or a training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnswitch.errors import InputError, did_you_mean
from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.samples import Sample

Trained = Literal["full", "frozen-tower", "lora", "projector"]
Optimizer = Literal["adamw", "adamw-fp32", "sgd", "none"]
TRAINED: dict[str, str] = {
    "full": "every weight",
    "frozen-tower": "the projector and the language model",
    "lora": "the projector, and LoRA on the language model's linear layers",
    "projector": "the projector alone",
}
OPTIMIZERS: dict[str, str] = {
    "adamw": "torch.optim.AdamW, its two states in the dtype of the weights",
    "adamw-fp32": "AdamW, its two states and a copy of the weights in float32 (DeepSpeed)",
    "sgd": "torch.optim.SGD without momentum",
    "none": "no optimizer",
}


@dataclass(frozen=True)
class Training:
    """One training step: forward, backward, and the optimizer's step.

    `lora_rank` and the dropout of 0.05 are those of LLaVA's own finetune_lora.sh.
    """

    trained: Trained = "frozen-tower"
    checkpointing: bool = False
    optimizer: Optimizer = "adamw"
    lora_rank: int = 128
    lora_dropout: float = 0.05


@dataclass(frozen=True)
class Scenario:
    """What runs: on `device` ("cpu" or "cuda"), in `dtype` (PyTorch's name of it).

    `new_tokens` are decoded after the prompt. `training` is None for inference.
    """

    geometry: Geometry
    sample: Sample
    dtype: str
    device: str = "cpu"
    batch: int = 1
    new_tokens: int = 1
    training: Training | None = None


def trained_of(word: str) -> Trained:
    """What a word trains.

    Raises:
        InputError: there is no such word.
    """
    return _one_of(word, TRAINED, "nothing can be trained as")  # type: ignore[return-value]


def optimizer_of(word: str) -> Optimizer:
    """The optimizer of that name.

    Raises:
        InputError: there is none.
    """
    return _one_of(word, OPTIMIZERS, "no optimizer")  # type: ignore[return-value]


def _one_of(word: str, known: dict[str, str], complaint: str) -> str:
    plain = word.strip().lower().replace("_", "-")
    if plain in known:
        return plain
    raise InputError(f"{complaint} {word!r}{did_you_mean(plain, known)}; there are "
                     + ", ".join(known))  # fmt: skip
