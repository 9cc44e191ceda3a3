"""Image and video tokens against transformers' processors and the models' own packing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnswitch.errors import ModelInputError
from attnswitch.geometries.building import build_model, configuration, smaller
from attnswitch.geometries.catalogue import CATALOGUE
from attnswitch.geometries.inputs import make_inputs
from attnswitch.geometries.samples import sample, tile_counts

SIZES = st.tuples(st.integers(16, 4000), st.integers(16, 4000))


def tokens_by_processor(name: str, size: tuple[int, int]) -> int:
    """What the model's own processor makes of one picture of (height, width).

    The token rules are methods that need no tokenizer and no torchvision.
    """
    import transformers

    listed = CATALOGUE[name]
    rules = {
        "llava_next": transformers.LlavaNextProcessor,
        "llava_next_video": transformers.LlavaNextVideoProcessor,
        "llava_onevision": transformers.LlavaOnevisionProcessor,
    }[listed.family]
    side = listed.vision.image_size
    grids = SimpleNamespace(image_grid_pinpoints=configuration(listed).image_grid_pinpoints)
    own = SimpleNamespace(
        image_processor=grids, patch_size=listed.vision.patch_size, num_additional_image_tokens=1,
        num_image_tokens=listed.vision.patches, vision_aspect_ratio="anyres_max_9",
    )  # fmt: skip
    own._get_unpadded_features = rules._get_unpadded_features.__get__(own)
    class_token = 0 if listed.family == "llava_onevision" else 1  # strategy "default" drops it
    return rules._get_number_of_features(own, *size, side, side) - class_token


@pytest.mark.parametrize("name", ["llava-v1.6-34b", "llava-next-video-7b", "llava-onevision-7b"])
@settings(max_examples=150, deadline=None)
@given(size=SIZES)
def test_a_picture_has_as_many_tokens_as_the_processor_gives_it(name, size):
    assert sample(CATALOGUE[name], image_size=size).image_tokens == tokens_by_processor(name, size)


@settings(max_examples=150, deadline=None)
@given(size=st.tuples(st.integers(28, 5000), st.integers(28, 5000)))
def test_a_picture_of_its_own_size(size):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    listed = CATALOGUE["qwen2.5-vl-7b"]
    bounds = dict(zip(("min_pixels", "max_pixels"), listed.image.pixels, strict=True))
    found = sample(listed, image_size=size)
    assert found.image_size == smart_resize(*size, factor=28, **bounds)
    high, wide = found.image_size
    assert found.image_tokens == high * wide // 28**2


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("shown", [{}, {"images": 2}, {"image_size": (300, 900)}, {"frames": 6}])
def test_the_model_itself_makes_as_many_features(name, shown):
    """One layer of the model, on the meta device, packs the features of the sample's pixels."""
    listed = CATALOGUE[name]
    if listed.image.kind == "native" or ("frames" in shown and not listed.image.frames):
        pytest.skip("no such input for this model")
    small = smaller(listed, 1)
    found = sample(small, **shown)
    model = build_model(small, device="meta").model
    inputs = make_inputs(small, found, device="meta")
    del inputs["attention_mask"]
    ids = inputs.pop("input_ids")
    assert ids.shape == (1, found.tokens)
    with torch.no_grad():
        if "pixel_values_videos" in inputs:
            features = model.get_video_features(**inputs).pooler_output
        else:
            features = model.get_image_features(**inputs).pooler_output
    if isinstance(features, (tuple, list)):
        features = torch.cat([part.flatten(0, -2) for part in features])
    assert features.numel() // listed.language.width == found.image_tokens


@pytest.mark.parametrize(
    ("name", "tiles", "tokens"),
    [
        ("llava-1.5-7b", 1, 576), ("llava-v1.6-mistral-7b", 3, 576 + 48 * 25),
        ("llava-v1.6-mistral-7b", 5, 576 + 48 * 49), ("llava-onevision-0.5b", 2, 729 + 27 * 28),
        ("llava-onevision-0.5b", 10, 729 + 81 * 82),
    ],
)  # fmt: skip
def test_tiles_give_the_picture_that_fills_them(name, tiles, tokens):
    found = sample(CATALOGUE[name], tiles=tiles)
    assert (found.tiles, found.image_tokens) == (tiles, tokens)


def test_frames():
    assert sample(CATALOGUE["llava-next-video-7b"]).image_tokens == 32 * 144
    assert sample(CATALOGUE["llava-onevision-7b-video"]).image_tokens == 32 * 196 + 1
    assert sample(CATALOGUE["video-llava-7b"]).image_tokens == 8 * 257
    pictured = sample(CATALOGUE["llava-onevision-7b-video"], images=1)
    assert pictured.frames == 0 and pictured.tiles == 7


def test_what_a_model_does_not_have_is_refused():
    next_34b, one = CATALOGUE["llava-v1.6-34b"], CATALOGUE["llava-1.5-7b"]
    with pytest.raises(ModelInputError, match=r"has 3, 4 or 5 tiles .* not 7"):
        sample(next_34b, tiles=7)
    with pytest.raises(ModelInputError, match="has 1 tile a picture, not 5"):
        sample(one, tiles=5)
    with pytest.raises(ModelInputError, match="takes no video"):
        sample(one, frames=8)
    with pytest.raises(ModelInputError, match="frames, or pictures"):
        sample(CATALOGUE["video-llava-7b"], frames=8, images=1)
    with pytest.raises(ModelInputError, match="cuts no tiles"):
        sample(CATALOGUE["qwen2.5-vl-7b"], tiles=2)
    assert tile_counts(next_34b.image, 336) == [3, 4, 5]
