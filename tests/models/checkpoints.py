"""Write tiny checkpoints to disk, as save_pretrained() of a real one would: model and processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SENTENCES = (
    "what is in this picture ? describe the left one two red blue circle square a "
    "USER: ASSISTANT: Answer in short sentence , please ."
)
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<video>"]
TEMPLATE = (
    "{% for m in messages %}USER: {% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image> {% else %}{{ p['text'] }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "vocab_size": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
SIZE = {"height": 28, "width": 28}


def tokenizer() -> Any:
    """A word-level tokenizer over `SENTENCES`, special tokens first."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {
        word: number for number, word in enumerate(dict.fromkeys([*SPECIAL, *SENTENCES.split()]))
    }
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", bos_token="<s>",
        eos_token="</s>", additional_special_tokens=["<image>", "<video>"],
    )  # fmt: skip


def _config(model_type: str) -> Any:
    import transformers

    numbers: dict[str, Any] = {"image_token_index": 4}
    if model_type in ("llava_next_video", "llava_onevision", "video_llava"):
        numbers["video_token_index"] = 5
    if model_type in ("llava_next", "llava_next_video", "llava_onevision"):
        numbers["image_grid_pinpoints"] = [[28, 28]]
    if model_type == "vipllava":
        numbers["vision_feature_layers"] = [-2, -1]
    siglip = model_type == "llava_onevision"
    vision = "siglip_vision_model" if siglip else "clip_vision_model"
    text = "qwen2" if siglip else "llama"
    config_class = type(transformers.AutoConfig.for_model(model_type))
    return config_class(
        text_config={"model_type": text, **TEXT},
        vision_config={
            "model_type": vision,
            **VISION,
            **({"vision_use_head": False} if siglip else {"projection_dim": 32}),
        },
        **numbers,
    )


PROCESSORS = {
    "llava": "LlavaProcessor",
    "vipllava": "LlavaProcessor",
    "llava_next": "LlavaNextProcessor",
    "llava_next_video": "LlavaNextVideoProcessor",
    "llava_onevision": "LlavaOnevisionProcessor",
    "video_llava": "VideoLlavaProcessor",
}
_IMAGE_PROCESSORS = {
    "llava_next": "LlavaNextImageProcessorPil",
    "llava_next_video": "LlavaNextImageProcessorPil",
    "llava_onevision": "LlavaOnevisionImageProcessorPil",
    "video_llava": "VideoLlavaImageProcessor",
}


def write_model(folder: Path, model_type: str = "llava", **config_changes: Any) -> Path:
    """Config and seeded weights."""
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(_config(model_type)).save_pretrained(folder)
    change_json(folder / "config.json", **config_changes)
    return folder


def write_processor(
    folder: Path, model_type: str = "llava", *, template: str | None = TEMPLATE
) -> Path:
    """Tokenizer, image processor and the processor's own settings, one file each as on the hub."""
    tokenizer().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_image_processor(model_type)))
    siglip = model_type == "llava_onevision"
    settings: dict[str, Any] = {
        "processor_class": PROCESSORS[model_type],
        "patch_size": 14,
        "vision_feature_select_strategy": "full" if siglip else "default",
        "num_additional_image_tokens": 0 if siglip else 1,
    }
    if siglip:
        del settings["patch_size"], settings["num_additional_image_tokens"]
        settings["num_image_tokens"] = 4
    (folder / "processor_config.json").write_text(json.dumps(settings))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def _image_processor(model_type: str) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "image_processor_type": _IMAGE_PROCESSORS.get(model_type, "CLIPImageProcessorPil"),
        "size": {"shortest_edge": 28},
        "crop_size": SIZE,
    }
    if model_type in ("llava_next", "llava_next_video", "llava_onevision"):
        settings["image_grid_pinpoints"] = [[28, 28]]
    if model_type == "llava_onevision":
        settings["size"] = SIZE
    return settings


def write_checkpoint(folder: Path, model_type: str = "llava", **config_changes: Any) -> Path:
    """Model and processor: what `--model <folder>` takes."""
    write_model(folder, model_type, **config_changes)
    return write_processor(folder, model_type)


def change_json(path: Path, **changes: Any) -> None:
    """Write `changes` into a JSON file; a value of None takes the key out."""
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: v for key, v in data.items() if v is not None}))
