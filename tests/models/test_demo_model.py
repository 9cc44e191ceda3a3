"""The built-in LLaVA is a real, trained checkpoint, and answers with FlashAttention on and off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration

import attnswitch.models
from attnswitch.models import scenes

FOLDER = Path(attnswitch.models.__file__).parent / "demo"
MOST_BYTES = 12_000_000
ATTENTION = {"flash": SDPBackend.FLASH_ATTENTION, "standard": SDPBackend.MATH}


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model():
    return LlavaForConditionalGeneration.from_pretrained(FOLDER).eval()


@pytest.fixture(scope="module")
def asked() -> list[tuple[scenes.Scene, scenes.Question]]:
    """One question of each kind and two descriptions, each about another held-out scene."""
    kinds = [*scenes.QUESTION_KINDS, "describe", "describe"]
    found = []
    remaining = iter(scenes.held_out_scenes(40))
    for kind in kinds:
        question = None
        while question is None:
            scene = next(remaining)
            question = scenes.ask(scene, kind, seed=5)
        found.append((scene, question))
    return found


def prepare(processor, pictures: list[Image.Image], texts: list[str]):
    chats = [
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
        for text in texts
    ]
    prompts = processor.apply_chat_template(chats, add_generation_prompt=True)
    return processor(images=pictures, text=prompts, padding=True, return_tensors="pt")


@torch.inference_mode()
def answers(model, processor, pictures: list[Image.Image], texts: list[str]) -> list[str]:
    inputs = prepare(processor, pictures, texts)
    inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    tokens = model.generate(**inputs)[:, inputs["input_ids"].shape[1] :]
    return [t.strip() for t in processor.batch_decode(tokens, skip_special_tokens=True)]


def test_the_folder_is_small():
    assert sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file()) <= MOST_BYTES


def test_it_is_llava_as_transformers_has_it(model):
    config = model.config
    assert config.model_type == "llava"
    assert config.vision_config.model_type == "clip_vision_model"
    assert config.vision_feature_layer == -2
    assert config.vision_feature_select_strategy == "default"
    assert config.text_config.model_type == "llama"
    assert config.text_config.num_key_value_heads < config.text_config.num_attention_heads
    assert model.dtype == torch.float32


def test_auto_classes_load_it_and_use_every_weight():
    model, info = AutoModelForImageTextToText.from_pretrained(FOLDER, output_loading_info=True)
    assert type(model) is LlavaForConditionalGeneration
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_picture_is_576_tokens(model, processor):
    inputs = prepare(processor, [scenes.render(scenes.sample_scene())], ["What do you see?"])
    assert inputs["pixel_values"].shape == (1, 3, 336, 336)
    assert (inputs["input_ids"] == model.config.image_token_index).sum() == 576


def test_the_sample_picture_is_the_sample_scene():
    stored = Image.open(FOLDER / "sample.png")
    assert stored.tobytes() == scenes.render(scenes.sample_scene()).tobytes()


@pytest.fixture(scope="module")
def given(model, processor, asked) -> dict[str, list[str]]:
    """The answers under PyTorch's FlashAttention and under its standard attention."""
    pictures = [scenes.render(scene) for scene, _ in asked]
    texts = [question.text for _, question in asked]
    found = {}
    for family, backend in ATTENTION.items():
        with sdpa_kernel(backend):
            found[family] = answers(model, processor, pictures, texts)
    return found


def test_both_families_give_the_same_answers(given):
    assert given["flash"] == given["standard"]


def test_its_answers_are_sentences_about_such_pictures(given):
    """Whatever it gets wrong, it answers in the words of its world, and ends."""
    made = [scenes.make_scene(seed) for seed in range(300)]
    texts = [q.answer for scene in made for q in scenes.ask_all(scene, scene.seed)]
    texts += [scenes.describe(scene) for scene in made]
    words = {word.strip(".,").lower() for text in texts for word in text.split()}
    for answer in given["standard"]:
        assert answer.endswith(".")
        assert {word.strip(".,").lower() for word in answer.split()} <= words, answer


@pytest.mark.parametrize("family", ATTENTION)
def test_it_answers_held_out_questions(given, asked, family):
    wrong = [
        (question.text, question.answer, answer)
        for (_, question), answer in zip(asked, given[family], strict=True)
        if answer != question.answer
    ]
    # A spot check: the accuracy itself, on 200 scenes, is in the model card.
    assert not wrong


def test_it_looks_at_the_picture(model, processor, asked):
    """The same question about another picture gets another answer."""
    text = "Describe the picture."
    pictures = [scenes.render(scene) for scene, _ in asked[:4]]
    assert len(set(answers(model, processor, pictures, [text] * 4))) == 4


def test_bfloat16_answers_like_float32(processor, asked, given):
    model = LlavaForConditionalGeneration.from_pretrained(FOLDER, dtype=torch.bfloat16).eval()
    pictures = [scenes.render(scene) for scene, _ in asked]
    half = answers(model, processor, pictures, [question.text for _, question in asked])
    same = sum(a == b for a, b in zip(half, given["standard"], strict=True))
    assert same >= len(asked) - 2


def test_a_second_turn_is_answered(model, processor, asked):
    scene, first = asked[0]
    second = scenes.ask(scene, "count_all")
    chat = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": first.text}]},
        {"role": "assistant", "content": [{"type": "text", "text": first.answer}]},
        {"role": "user", "content": [{"type": "text", "text": second.text}]},
    ]
    prompt = processor.apply_chat_template(chat, add_generation_prompt=True)
    inputs = processor(images=scenes.render(scene), text=prompt, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
    assert processor.decode(tokens, skip_special_tokens=True).strip() == second.answer


@pytest.mark.parametrize("text", ["请描述这张图片。", "Zażółć gęślą jaźń 🙂", "", "x" * 300])
def test_words_it_never_saw_do_not_crash(model, processor, text):
    picture = Image.new("RGB", (500, 200), "white")
    (answer,) = answers(model, processor, [picture], [text])
    assert isinstance(answer, str)
    assert processor.tokenizer.unk_token is None
    assert processor.tokenizer.decode(processor.tokenizer(text).input_ids) == "<s>" + text


def test_generation_stops(model, processor, asked):
    scene, question = asked[0]
    inputs = prepare(processor, [scenes.render(scene)], [question.text])
    with torch.inference_mode():
        tokens = model.generate(**inputs)[0]
    assert tokens[-1] == model.generation_config.eos_token_id
