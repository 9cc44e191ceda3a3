"""Forks' private copies of CLIP's and SigLIP's attention are reached; look-alikes are not taken."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path

import pytest
import torch

import attnswitch
from attnswitch.errors import UnavailableError
from tests.run.launching import receipts, run
from tests.seams import private_tower
from tests.seams.kernels import BLOCKWISE, FLASH, MATH, kernels

KERNEL = {"standard": BLOCKWISE, "flash": FLASH}


def built(kind=private_tower.Tower):
    torch.manual_seed(0)
    return kind(private_tower.TowerConfig()).eval()


@pytest.fixture(scope="module")
def hidden() -> torch.Tensor:
    return torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("request_word", KERNEL)
def test_a_copy_runs_what_is_asked_and_gives_what_it_gave(hidden, request_word):
    mask = torch.zeros(2, 1, 6, 6).masked_fill(torch.ones(6, 6).tril() == 0, -1e9)
    with torch.no_grad():
        wanted = [built()(hidden)[0], built()(hidden, mask)[0]]
        with attnswitch.use(request_word):
            tower = built()
            tower(hidden)  # the first call compares
            assert kernels(lambda: tower(hidden)) == {KERNEL[request_word]}
            found = [tower(hidden)[0], tower(hidden, mask)[0]]
        assert kernels(lambda: tower(hidden)) == set(), "its own code, once nothing is asked"
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_comparison_draws_none_of_the_programs_random_numbers(hidden, monkeypatch):
    spec = importlib.util.spec_from_file_location("a_fresh_tower", private_tower.__file__)
    fresh = importlib.util.module_from_spec(spec)  # whose classes nobody has compared yet
    monkeypatch.setitem(sys.modules, spec.name, fresh)
    spec.loader.exec_module(fresh)
    with torch.no_grad(), attnswitch.use("standard"):
        tower = fresh.Tower(fresh.TowerConfig())
        before = torch.get_rng_state()
        assert kernels(lambda: tower(hidden)) == {BLOCKWISE, MATH}, "compared, and then run"
        assert torch.equal(torch.get_rng_state(), before)


def test_asked_for_its_weights_it_runs_its_own_code(hidden):
    with torch.no_grad(), attnswitch.use("standard"):
        assert built()(hidden, output_attentions=True)[1].shape == (2, 4, 6, 6)
    with attnswitch.use("flash"), pytest.raises(UnavailableError, match="output_attentions=True"):
        built()(hidden, output_attentions=True)


def test_a_look_alike_keeps_its_own_code_or_is_an_error(hidden, caplog):
    with torch.no_grad():
        wanted = built(private_tower.SharperTower)(hidden)[0]
        with attnswitch.use("standard"), caplog.at_level(logging.WARNING, "attnswitch"):
            found = built(private_tower.SharperTower)(hidden)[0]
    assert torch.equal(found, wanted)
    assert "SharperAttention: not what its code looks like" in caplog.text
    said = "SharperAttention has attention code of its own, which gives something else"
    with attnswitch.use("flash"), pytest.raises(UnavailableError, match=said):
        built(private_tower.SharperTower)(hidden)


@pytest.mark.parametrize("request_word", KERNEL)
def test_the_comparison_is_in_no_receipt(tmp_path, request_word):
    root = str(Path(__file__).parents[2])
    words = ["--attn", request_word, "--receipt", "r.json", "-m", "tests.seams.private_tower"]
    done = run(tmp_path, *words, PYTHONPATH=root)
    assert done.returncode == 0, done.stderr
    (one,) = receipts(tmp_path / "r.json")
    assert (one["site"], one["executed"], one["calls"]) == (
        "vision_tower", [KERNEL[request_word]], 3
    )  # fmt: skip
