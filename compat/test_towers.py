"""Vision towers of timm and open_clip obey the switch, by the variable and by `apply`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compat.kernels import EXPECTED, FLASH, assert_only
from compat.running import PROGRAMS, run

CLASSES = {
    "timm ViT": "Attention",
    "timm EVA": "EvaAttention",
    "open_clip ViT": "MultiheadAttention",
}


def towers(folder: Path, attn: str | None = None, apply: str | None = None) -> dict:
    """{tower: {"operators", "features"}} under a request, made by one way or the other."""
    out = folder / f"{attn}-{apply}.json"
    extra = {} if apply is None else {"APPLY": apply}
    run("towers", [PROGRAMS / "towers.py", out], attn=attn, extra=extra).expect_success()
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return towers(tmp_path_factory.mktemp("towers"))


def test_left_alone_they_run_flash_attention_and_a_fast_path(own):
    ran = {name: own[name]["operators"][kind] for name, kind in CLASSES.items()}
    assert ran == {
        "timm ViT": [FLASH],
        "timm EVA": [FLASH],
        "open_clip ViT": ["aten::_softmax"],  # nn.MultiheadAttention's fast path
    }


@pytest.mark.parametrize("way", ["attn", "apply"])
@pytest.mark.parametrize("request_word", EXPECTED)
def test_they_run_what_is_asked_and_give_what_they_gave(own, tmp_path, request_word, way):
    found = towers(tmp_path, **{way: request_word})
    assert found.keys() == CLASSES.keys()
    for name, kind in CLASSES.items():
        print(name)
        assert_only({kind: found[name]["operators"][kind]}, request_word, [kind])
        assert found[name]["features"] == pytest.approx(own[name]["features"], abs=1e-5)
