"""Small geometries for tests: the shapes of real ones, few layers and narrow."""

from __future__ import annotations

from dataclasses import replace

from attnswitch.geometries.catalogue import CATALOGUE
from attnswitch.geometries.geometry import Geometry


def narrow(name: str, layers: int = 2) -> Geometry:
    """A LLaVA of the catalogue with `layers` layers, heads of 16, and tiles of 8 × 8 patches."""
    listed = CATALOGUE[name]
    tower = replace(
        listed.vision, layers=layers, heads=2, head_dim=16, width=32, mlp_width=64, image_size=112
    )
    grids = tuple(
        (high * 112 // listed.vision.image_size, wide * 112 // listed.vision.image_size)
        for high, wide in listed.image.grids
    )
    language = replace(
        listed.language, layers=layers, heads=4, kv_heads=2, head_dim=16, width=64, mlp_width=160,
        vocabulary=600,
    )  # fmt: skip
    return replace(
        listed, dtype="float32", vision=tower, language=language,
        image=replace(listed.image, grids=grids),
        projector=replace(listed.projector, width_in=32, width_hidden=64, width_out=64),
    )  # fmt: skip
