"""The suite's comparisons can fail: wrong backends are caught, by losses and by logits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compat.llava_training import far_apart, start_training
from compat.running import PROGRAMS, run


@pytest.fixture(scope="module", params=["4.31", "4.37"])
def own(request, tiny_files, tmp_path_factory) -> tuple[str, list[float]]:
    """The environment, and losses of LLaVA's own training there, with nothing switched."""
    return request.param, losses(request.param, "train", tiny_files, tmp_path_factory.mktemp("own"))


def losses(environment: str, script: str, files: Path, folder: Path, **how: str) -> list[float]:
    return start_training(environment, f"llava.train.{script}", files, folder, **how).losses()


@pytest.mark.parametrize("fault", ["attends_to_the_future", "scores_too_small"])
def test_losses_tell(own, tiny_files, tmp_path, fault):
    """By the patch of LLaVA 1.1, and by the keyword of 1.2."""
    environment, right = own
    wrong = losses(environment, "train_mem", tiny_files, tmp_path, attn="standard", fault=fault)
    assert far_apart(right, wrong) != []


def logits(out: Path, environment: str, through: tuple[str | Path, ...], attn: str | None) -> list:
    """Those of a Llama with padding on the left, as `test_names` compares them."""
    command = [*through, PROGRAMS / "names.py", out, "plain"]
    run(environment, command, attn=attn).expect_success()
    return json.loads(out.read_text())["llama as it is"]["logits"]


@pytest.fixture(scope="module", params=["4.31", "4.37", "5"])
def own_logits(request, tmp_path_factory) -> tuple[str, list[float]]:
    out = tmp_path_factory.mktemp("own-logits") / "out.json"
    return request.param, logits(out, request.param, (), None)


@pytest.mark.parametrize("fault", ["attends_to_the_future", "ignores_padding", "scores_too_small"])
def test_logits_tell(own_logits, tmp_path, fault):
    environment, right = own_logits
    through = (PROGRAMS / "planted.py", fault)
    wrong = logits(tmp_path / "out.json", environment, through, "standard")
    assert wrong != pytest.approx(right, abs=1e-4)
