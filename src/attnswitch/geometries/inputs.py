"""A model's inputs for a sample: random pixels and text, as the processor would hand them over."""

from __future__ import annotations

from typing import Any

from attnswitch.geometries.building import configuration
from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.samples import Sample


def make_inputs(
    geometry: Geometry,
    sample: Sample,
    *,
    batch: int = 1,
    dtype: Any = None,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Keyword arguments of the model's forward: `input_ids`, `attention_mask`, pixels.

    `input_ids` and `attention_mask` are [batch, tokens], nothing padded; the image tokens stand
    after the first text token. `dtype` (a torch dtype) is that of the pixels, default the
    geometry's. On "meta" only shapes are there.
    """
    import torch

    config = configuration(geometry)
    dtype = getattr(torch, geometry.dtype) if dtype is None else dtype
    place = torch.device(device)
    generator = None if place.type == "meta" else torch.Generator(place).manual_seed(seed)
    visual = _visual_token(config, sample)
    words = torch.tensor(_words(config), device=place)
    drawn = torch.randint(
        len(words), (batch, sample.text_tokens), generator=generator, device=place
    )
    text = words[drawn]
    picture = torch.full((batch, sample.image_tokens), visual, device=place)
    ids = torch.cat([text[:, :1], picture, text[:, 1:]], 1)
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if sample.tiles:
        inputs |= _pixels(geometry, sample, batch, dtype, place, generator)
    return inputs


def _visual_token(config: Any, sample: Sample) -> int:
    name = "video_token_id" if sample.frames else "image_token_id"
    return int(getattr(config, name))


def _words(config: Any) -> list[int]:
    """Token numbers that stand for text: 0 to 2 are padding, beginning and end."""
    names = ("image_token_id", "video_token_id")
    visual = {getattr(config, name, None) for name in names}
    return [n for n in range(3, config.get_text_config().vocab_size) if n not in visual]


def _pixels(
    geometry: Geometry, sample: Sample, batch: int, dtype: Any, device: Any, generator: Any
) -> dict[str, Any]:
    import torch

    side = geometry.vision.image_size

    def pixels(*shape: int) -> Any:
        drawn = torch.randn(*shape, generator=generator, device=device)
        return drawn.to(dtype)

    if geometry.image.kind == "native":
        return _native_pixels(geometry, sample, batch, device, pixels)
    if sample.frames:
        return {"pixel_values_videos": pixels(batch, sample.frames, 3, side, side)}
    count = batch * sample.images
    if geometry.image.kind == "single":
        return {"pixel_values": pixels(count, 3, side, side)}
    assert sample.image_size is not None
    inputs = {
        "pixel_values": pixels(count, sample.tiles // sample.images, 3, side, side),
        # A model reads these sizes as numbers: they are real on every device.
        "image_sizes": torch.tensor([sample.image_size] * count),
    }
    if geometry.family == "llava_onevision":
        inputs["batch_num_images"] = torch.tensor([sample.images] * batch)
    return inputs


def _native_pixels(
    geometry: Geometry, sample: Sample, batch: int, device: Any, pixels: Any
) -> dict[str, Any]:
    import torch

    assert sample.image_size is not None
    tower = geometry.vision
    high, wide = (side // tower.patch_size for side in sample.image_size)
    steps = sample.tiles if sample.frames else 1
    count = batch * (1 if sample.frames else sample.images)
    rows = count * steps * high * wide
    # A patch is three colours, two frames, and a square of pixels.
    values = pixels(rows, 3 * 2 * tower.patch_size**2)
    grid = torch.tensor([[steps, high, wide]] * count)
    if sample.frames:
        return {"pixel_values_videos": values, "video_grid_thw": grid}
    return {"pixel_values": values, "image_grid_thw": grid}
