"""`attnswitch verify` on each planted fault: exit status 1, the right site first and named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attnswitch.cli import model_options, verify
from attnswitch.cli.main import main
from attnswitch.models.load import load_model
from tests.models import checkpoints
from tests.verification import faults, models

TEXT = "model.language_model.layers.1.self_attn"
VISION = "model.vision_tower.encoder.layers.1.self_attn"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "llava"
    checkpoints.write_checkpoint(folder)
    return load_model(str(folder))


@pytest.fixture
def status_of(loaded, monkeypatch, capsys):
    """Runs the command on a model and inputs of the test's own; returns its status and output."""

    def run(kernel, model, inputs, *more):
        monkeypatch.setattr(model_options, "load", lambda _: replace(loaded, model=model))
        monkeypatch.setattr(verify, "_inputs", lambda *_: inputs)
        arguments = ["verify", "--candidate", "blockwise", "--max-new-tokens", "2", *more]
        with faults.planted(kernel):
            status = main(arguments)
        return status, " ".join(capsys.readouterr().out.split())

    return run


def widened(model, site, factor):
    """The model with larger queries and keys at a site, so that half precision overflows there."""
    attention = model.get_submodule(site)
    with torch.no_grad():
        for part in (attention.q_proj, attention.k_proj):
            part.weight.mul_(factor)
    return model


@pytest.mark.parametrize(
    ("kernel", "site", "words"),
    [
        (faults.attends_to_the_future, TEXT, "it attends to the future"),
        (faults.ignores_padding, TEXT, "it ignores padding"),
        (faults.scaled(1.01), TEXT, "its scale is off: the factor on QKᵀ is 1 % too large"),
        (faults.two_heads_zeroed, VISION, "heads 1 and 2 of 4 give nothing but zeros"),
    ],
    ids=["future", "padding", "scale", "heads"],
)
def test_a_fault_of_one_layer(status_of, kernel, site, words):
    model, inputs = models.llava(torch.float16), models.inputs(torch.float16)
    status, said = status_of(faults.only_at(site, kernel), model, inputs)
    assert status == 1
    assert f"blockwise is wrong at {site}" in said
    assert words in said


def test_scores_that_overflow(status_of):
    model = widened(models.llava(torch.float16), TEXT, 600.0)
    status, said = status_of(faults.overflows, model, models.inputs(torch.float16))
    assert status == 1
    assert f"blockwise is wrong at {TEXT}" in said
    assert "scores overflow in float16, whose largest number is 65,504" in said


@pytest.mark.slow
def test_a_kernel_that_is_wrong_beyond_4096_keys(status_of):
    model = models.llama(2, positions=8192, dtype=torch.bfloat16)
    kernel = faults.only_at("layers.1.self_attn", faults.wrong_beyond(4096))
    status, said = status_of(kernel, model, [models.prompt(4500)])
    assert status == 1
    assert "blockwise is wrong at model.layers.1.self_attn" in said
    assert "it is right where a row sees few keys and wrong beyond" in said


def test_a_backward_that_forgets_the_softmax_correction(status_of):
    model = models.llava()
    model.get_submodule(TEXT).scaling = 0.3
    kernel = faults.only_with_scale(0.3, faults.forgets_the_correction)
    status, said = status_of(kernel, model, models.inputs(), "--gradients")
    assert status == 1
    assert f"blockwise is wrong at {TEXT} (backward)" in said
    assert "forgets the softmax correction" in said


def test_a_healthy_pair(status_of):
    status, said = status_of(faults.exact.yardstick, models.llava(), models.inputs())
    assert status == 0
    assert "AGREES" in said
    assert "A kernel whose factor on QKᵀ is off is told from" in said


def test_where_rounding_hides_one_percent_of_scale(status_of):
    model = models.llama(2, logit_scale=0.1, dtype=torch.bfloat16)
    status, said = status_of(faults.scaled(1.01), model, [models.prompt(200)])
    assert status == 0
    assert "; off by 1 %, rounding hides it in" in said
