"""Vision towers of timm and open_clip, as LLaVA's forks use them, and what ran in each.

    python towers.py OUT.json

    APPLY=REQUEST python towers.py OUT.json      by `attnswitch.apply`, each tower by itself

Each tower gives {"operators", "features"}. torchvision has no wheel for the torch of this suite:
it is stood in for, since both libraries import its transforms and use none here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

for part in ("", ".transforms", ".transforms.functional", ".transforms.v2", ".models", ".ops",
             ".ops.misc", ".models.feature_extraction", ".datasets", ".io", ".utils"):  # fmt: skip
    sys.modules["torchvision" + part] = MagicMock(__spec__=None, __path__=[])

import torch  # noqa: E402, after what the towers' libraries are to find
from watch import Watch  # noqa: E402


def timm_vit() -> Any:
    import timm

    return timm.create_model(
        "vit_tiny_patch16_224", img_size=28, patch_size=14, depth=2, embed_dim=32, num_heads=4,
        num_classes=0, global_pool="",
    )  # fmt: skip


def timm_eva() -> Any:
    """EVA's attention, with rotary positions."""
    import timm

    return timm.create_model(
        "eva02_tiny_patch14_224", img_size=28, depth=2, embed_dim=32, num_heads=4, num_classes=0,
        global_pool="",
    )  # fmt: skip


def open_clip_vit() -> Any:
    """nn.MultiheadAttention, in blocks of open_clip's own."""
    from open_clip.transformer import VisionTransformer

    return VisionTransformer(28, 14, width=32, layers=2, heads=4, mlp_ratio=2.0, output_dim=16)


TOWERS: dict[str, Callable[[], Any]] = {
    "timm ViT": timm_vit,
    "timm EVA": timm_eva,
    "open_clip ViT": open_clip_vit,
}


def main(target: Path) -> None:
    import attnswitch

    pictures = torch.linspace(-1, 1, 2 * 3 * 28 * 28).reshape(2, 3, 28, 28)
    found = {}
    for name, build in TOWERS.items():
        torch.manual_seed(0)
        tower = build().eval()
        if "APPLY" in os.environ:
            attnswitch.apply(tower, os.environ["APPLY"])
        with torch.inference_mode(), Watch() as seen:
            features = tower(pictures)
        numbers = features.flatten()[:200].tolist()
        found[name] = {"operators": seen.operators, "features": numbers}
    target.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
