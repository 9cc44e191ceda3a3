"""Inputs: pictures and prompts become tensors, and what cannot is one clear line."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from attnswitch.errors import ModelInputError
from attnswitch.models.inputs import open_picture, padded_batch, prepare_inputs
from attnswitch.models.load import load_model

from .checkpoints import PROCESSORS, write_checkpoint, write_model, write_processor

RED = Image.new("RGB", (40, 30), (255, 0, 0))
GREEN = Image.new("RGB", (30, 40), (0, 255, 0))
PROMPT = "what is in this picture ?"
IMAGE_TOKEN = 4


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return load_model(str(write_checkpoint(tmp_path_factory.mktemp("llava"))))


@pytest.fixture(scope="module")
def loaded_models(tmp_path_factory):
    return {
        kind: load_model(str(write_checkpoint(tmp_path_factory.mktemp(kind), kind)), dtype="bf16")
        for kind in PROCESSORS
    }


def refusal(*arguments, **options) -> str:
    with pytest.raises(ModelInputError) as caught:
        prepare_inputs(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("pictures", [[], [RED], [RED, GREEN]], ids=len)
def test_every_named_class_takes_any_number_of_pictures(loaded_models, kind, pictures):
    loaded = loaded_models[kind]
    inputs = prepare_inputs(loaded, pictures, PROMPT)
    floats = [tensor for tensor in inputs.values() if tensor.is_floating_point()]
    assert bool(floats) == bool(pictures)
    assert all(tensor.dtype == torch.bfloat16 for tensor in floats)
    assert bool((inputs["input_ids"] == IMAGE_TOKEN).any()) == bool(pictures)
    with torch.no_grad():
        assert torch.isfinite(loaded.model(**inputs).logits).all()


@pytest.mark.parametrize("kind", PROCESSORS)
def test_a_padded_batch_holds_the_prompt_twice_padded_left(loaded_models, kind):
    loaded = loaded_models[kind]
    alone, batch = (make(loaded, [RED], PROMPT) for make in (prepare_inputs, padded_batch))
    short, long = batch["attention_mask"].sum(dim=1).tolist()
    assert short == alone["input_ids"].shape[1] < long == batch["input_ids"].shape[1]
    assert batch["attention_mask"][0, 0] == 0 and batch["attention_mask"][0, -1] == 1
    assert torch.equal(batch["input_ids"][0, long - short :], alone["input_ids"][0])
    with torch.no_grad():
        loaded.model(**batch)


def test_padding_leaves_the_tokenizer_as_it_was(llava):
    tokenizer = llava.processor.tokenizer
    tokenizer.padding_side = "right"
    padded_batch(llava, [], PROMPT)
    assert tokenizer.padding_side == "right"


def test_without_a_chat_template_the_image_token_is_put_in(tmp_path):
    write_processor(write_model(tmp_path), template=None)
    loaded = load_model(str(tmp_path))
    ids = prepare_inputs(loaded, [RED, GREEN], PROMPT)["input_ids"]
    assert int((ids == IMAGE_TOKEN).sum()) == 2 * 4


def test_a_prompt_with_its_own_image_tokens_is_taken_as_it_stands(llava):
    ids = prepare_inputs(llava, [RED], f"describe <image> {PROMPT}")["input_ids"]
    words = llava.processor.tokenizer.decode(ids[0])
    assert "USER:" not in words and int((ids == IMAGE_TOKEN).sum()) == 4


def test_image_tokens_and_pictures_must_match(llava):
    text = refusal(llava, [RED, GREEN], f"<image> {PROMPT}")
    assert text == "the prompt holds <image> once, but 2 pictures are given"


def test_a_prompt_longer_than_the_context_names_the_figures(llava):
    text = refusal(llava, [RED], "red " * 100, max_new_tokens=60)
    assert "the prompt takes 106 tokens (4 of them for 1 picture) and 60 new ones make 166" in text
    assert "holds 128: shorten the prompt" in text


def test_exactly_the_context_fits(llava):
    tokens = prepare_inputs(llava, [RED], PROMPT)["input_ids"].shape[1]
    prepare_inputs(llava, [RED], PROMPT, max_new_tokens=128 - tokens)
    assert "make 129" in refusal(llava, [RED], PROMPT, max_new_tokens=129 - tokens)


def test_an_empty_prompt(llava):
    assert refusal(llava, [RED], "  ") == "the prompt is empty"


def test_a_missing_picture(llava, tmp_path):
    assert refusal(llava, [tmp_path / "no.png"], PROMPT) == (
        f"there is no picture {tmp_path / 'no.png'}"
    )


def test_a_folder_is_no_picture(llava, tmp_path):
    assert refusal(llava, [tmp_path], PROMPT) == f"{tmp_path} is a folder, not a picture"


def test_an_address_is_no_file(llava):
    assert "download the picture and give the file" in refusal(llava, ["https://a/b.png"], PROMPT)


def test_a_file_that_is_no_picture(llava, tmp_path):
    path = tmp_path / "x.png"
    path.write_text("hello")
    assert refusal(llava, [str(path)], PROMPT) == f"{path} is not a picture that Pillow can read"


def test_a_cut_off_picture(llava, tmp_path):
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert f"the picture {path} cannot be read" in refusal(llava, [path], PROMPT)


def test_pictures_become_rgb(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("LA", (8, 8)).save(path)
    assert open_picture(path).mode == "RGB"
