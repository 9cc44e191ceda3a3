"""How many tiles and tokens one sample becomes: pictures, tiles or frames, and text.

The arithmetic is that of the models' own processors (transformers: processing_llava_next.py,
processing_llava_onevision.py, processing_llava_next_video.py, image_processing_qwen2_vl.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from attnswitch.errors import ModelInputError
from attnswitch.geometries.geometry import Geometry, ImageRule, Pixels

# A photo of 1024×768; height first.
PHOTO: Pixels = (768, 1024)
TEXT_TOKENS = 64


@dataclass(frozen=True)
class Sample:
    """One sequence of a batch.

    `tiles` are what the vision tower sees, frames included; `patches` the tower's tokens of one
    tile. `image_tokens` are the language model's, all pictures and frames together.
    """

    text_tokens: int
    tiles: int
    patches: int
    image_tokens: int
    images: int = 1
    image_size: Pixels | None = None
    frames: int = 0

    @property
    def tokens(self) -> int:
        """The language model's sequence."""
        return self.text_tokens + self.image_tokens


def sample(
    geometry: Geometry,
    *,
    text_tokens: int = TEXT_TOKENS,
    image_size: Pixels | None = None,
    tiles: int | None = None,
    frames: int | None = None,
    images: int | None = None,
) -> Sample:
    """What a model of this geometry makes of pictures or a video.

    Args:
        text_tokens: tokens of text beside those of the pictures.
        image_size: (height, width) in pixels; default a photo of 1024×768.
        tiles: instead of `image_size`: a picture that becomes so many tiles, the base view
            included; of the grids that do, the one with most tokens.
        frames: a video of so many frames, and no picture; default the geometry's own, else none.
        images: pictures of that size; 0 is text alone; default 1.

    Raises:
        ModelInputError: the geometry has no such tiles or takes no video; a number is negative.
    """
    _check(text_tokens, image_size, tiles, frames, images)
    pictured = image_size is not None or tiles is not None or images is not None
    if frames is None and not pictured:
        frames = geometry.frames
    if frames is not None:
        if pictured:
            raise ModelInputError("give frames, or pictures, not both")
        return _video(geometry, frames, text_tokens)
    count = 1 if images is None else images
    if count == 0:
        return Sample(text_tokens, 0, geometry.vision.tokens, 0, 0)
    rule = geometry.image
    if rule.kind == "native":
        return _native(geometry, image_size or PHOTO, tiles, count, text_tokens)
    if rule.kind == "single":
        if tiles not in (None, 1):
            raise ModelInputError(f"{geometry.name} has 1 tile a picture, not {tiles}")
        tokens = count * geometry.vision.patches
        size = image_size or PHOTO
        return Sample(text_tokens, count, geometry.vision.tokens, tokens, count, size)
    return _anyres(geometry, image_size, tiles, count, text_tokens)


def _check(
    text: int, size: Pixels | None, tiles: int | None, frames: int | None, images: int | None
) -> None:
    counts = {"tiles": tiles, "frames": frames}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ModelInputError(f"{name} must be at least 1, not {count}")
    if text < 0 or (images is not None and images < 0):
        raise ModelInputError("text tokens and images cannot be negative")
    if size is not None and min(size) < 1:
        raise ModelInputError(f"a picture of {size[1]}×{size[0]} pixels has no pixels")
    if size is not None and tiles is not None:
        raise ModelInputError("give a picture's size or its tiles, not both")


def tile_counts(rule: ImageRule, tile: int) -> list[int]:
    """The numbers of tiles, base view included, that a picture can become; `tile` is its side."""
    if rule.kind == "single":
        return [1]
    return sorted({1 + (h // tile) * (w // tile) for h, w in rule.grids})


def _anyres(
    geometry: Geometry, size: Pixels | None, tiles: int | None, images: int, text: int
) -> Sample:
    rule, vision = geometry.image, geometry.vision
    if images > 1 and geometry.family == "llava_onevision":
        # Several pictures are not cut; each ends with one newline.
        if tiles not in (None, 1):
            raise ModelInputError(f"{geometry.name} cuts no tiles where there are several pictures")
        tokens = images * (vision.patches + 1)
        return Sample(text, images, vision.tokens, tokens, images, size or PHOTO)
    if tiles is not None:
        size = _size_of_tiles(geometry, tiles)
    size = size or PHOTO
    grid = best_grid(size, rule.grids)
    crops = (grid[0] // vision.image_size) * (grid[1] // vision.image_size)
    tokens = images * (vision.patches + crop_tokens(geometry, size))
    return Sample(text, images * (1 + crops), vision.tokens, tokens, images, size)


def _size_of_tiles(geometry: Geometry, tiles: int) -> Pixels:
    """The picture that fills a grid of so many tiles; the one with most tokens of several."""
    side = geometry.vision.image_size
    fitting = [g for g in geometry.image.grids if 1 + (g[0] // side) * (g[1] // side) == tiles]
    if not fitting:
        known = tile_counts(geometry.image, side)
        listed = ", ".join(map(str, known[:-1])) + f" or {known[-1]}"
        raise ModelInputError(
            f"{geometry.name} has {listed} tiles (the base view included), not {tiles}"
        )
    return max(fitting, key=lambda grid: crop_tokens(geometry, grid))


def best_grid(size: Pixels, grids: tuple[Pixels, ...]) -> Pixels:
    """The grid that keeps most of the picture's pixels, and of those the one that wastes least."""

    def merit(grid: Pixels) -> tuple[int, int]:
        scale = min(grid[1] / size[1], grid[0] / size[0])
        kept = min(int(size[1] * scale) * int(size[0] * scale), size[0] * size[1])
        return kept, kept - grid[0] * grid[1]

    return max(grids, key=merit)


def crop_tokens(geometry: Geometry, size: Pixels) -> int:
    """Tokens of the crops: their patches without the padding, and a newline a row."""
    vision, rule = geometry.vision, geometry.image
    side = vision.image_size // vision.patch_size
    grid = best_grid(size, rule.grids)
    high, wide = (side * (pixels // vision.image_size) for pixels in grid)
    if size[1] / size[0] > wide / high:
        high -= (high - int(round(size[0] * (wide / size[1]), 7))) // 2 * 2
    else:
        wide -= (wide - int(round(size[1] * (high / size[0]), 7))) // 2 * 2
    if rule.most_tiles is not None:
        ratio = math.sqrt(high * wide / (rule.most_tiles * side**2))
        if ratio > 1.1:
            high, wide = int(high // ratio), int(wide // ratio)
    return high * wide + high


def _video(geometry: Geometry, frames: int, text: int) -> Sample:
    rule, vision = geometry.image, geometry.vision
    if not rule.frames:
        raise ModelInputError(f"{geometry.name} takes no video; leave the frames out")
    if rule.kind == "native":
        # Two frames are one step in time.
        one = _native(geometry, PHOTO, None, 1, text)
        steps = -(-frames // 2)
        return Sample(text, steps, one.patches, steps * one.image_tokens, 0, one.image_size, frames)
    side = vision.image_size // vision.patch_size
    pooled = -(-side // rule.frame_stride) if rule.frame_rounds_up else side // rule.frame_stride
    a_frame = pooled**2 + (vision.class_tokens if rule.frame_class_token else 0)
    tokens = frames * a_frame + rule.video_newline
    return Sample(text, frames, vision.tokens, tokens, 0, None, frames)


def _native(geometry: Geometry, size: Pixels, tiles: int | None, images: int, text: int) -> Sample:
    if tiles is not None:
        raise ModelInputError(f"{geometry.name} cuts no tiles; give the picture's size")
    high, wide = native_size(geometry, size)
    patches = (high // geometry.vision.patch_size) * (wide // geometry.vision.patch_size)
    tokens = images * patches // geometry.projector.merge
    return Sample(text, images, patches, tokens, images, (high, wide))


def native_size(geometry: Geometry, size: Pixels) -> Pixels:
    """The size that a `native` picture is scaled to: multiples of the merged patch, within bounds.

    Source: `smart_resize` of Qwen2-VL's image processor.
    """
    assert geometry.image.pixels is not None
    fewest, most = geometry.image.pixels
    factor = geometry.vision.patch_size * math.isqrt(geometry.projector.merge)
    if max(size) / min(size) > 200:
        raise ModelInputError(f"a picture of {size[1]}×{size[0]} is too narrow for {geometry.name}")
    high, wide = (max(factor, round(side / factor) * factor) for side in size)
    if high * wide > most:
        shrink = math.sqrt(size[0] * size[1] / most)
        high, wide = (max(factor, math.floor(s / shrink / factor) * factor) for s in size)
    elif high * wide < fewest:
        grow = math.sqrt(fewest / (size[0] * size[1]))
        high, wide = (math.ceil(s * grow / factor) * factor for s in size)
    return high, wide
