"""`attnswitch patch` gives the real LLaVA 1.2.2 a parameter, and it trains with either value."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from attnswitch.source import Patch, patch
from compat.environments import python_of
from compat.kernels import assert_only
from compat.llava_training import Training, arguments, far_apart, start_training
from compat.running import run
from compat.test_llava_training import CLASSES

ENVIRONMENT = "4.37"
STEPS = 8


@dataclass(frozen=True)
class Patched:
    """A copy of LLaVA that was patched, and the patch."""

    folder: Path
    original: Path
    patch: Patch


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Patched:
    """LLaVA as PyPI has it, copied and patched; the environment keeps its own."""
    site = next((python_of(ENVIRONMENT).parent.parent / "lib").glob("python*/site-packages"))
    folder = tmp_path_factory.mktemp("patched") / "llava"
    shutil.copytree(site / "llava", folder, ignore=shutil.ignore_patterns("__pycache__"))
    made = patch(folder)
    made.write()
    return Patched(folder, (site / "llava").resolve(), made)


@pytest.fixture(scope="module")
def runs(patched: Patched, tiny_files: Path, tmp_path_factory) -> dict[str, Training]:
    """LLaVA's train_mem as it is patched, off and on, and its own train, unpatched."""
    extra = {"PYTHONPATH": str(patched.folder.parent)}
    folder = tmp_path_factory.mktemp("runs")
    cases = {"False": ("train_mem", None), "True": ("train_mem", "flash")}
    started = {
        value: start_training(
            ENVIRONMENT, f"llava.train.{script}", tiny_files, folder / value, attn=request,
            steps=STEPS, options=("--use_flash_attention", value), extra=extra,
        )
        for value, (script, request) in cases.items()
    }  # fmt: skip
    started["own"] = start_training(
        ENVIRONMENT, "llava.train.train", tiny_files, folder / "own", steps=STEPS
    )
    return started


def test_nothing_differs_but_what_the_diff_says(patched: Patched):
    changed = {change.path for change in patched.patch.changed}
    assert changed == {"train/train.py"}
    for path in sorted(patched.original.rglob("*.py")):
        name = path.relative_to(patched.original).as_posix()
        same = path.read_bytes() == (patched.folder / name).read_bytes()
        assert same is (name not in changed), name
    added = [x for x in patched.patch.diff().splitlines() if x[:1] in "+-" and x[1:3] != x[:1] * 2]
    assert [x[0] for x in added] == ["+", "+", "+"], "lines are added, none is taken away"


def test_a_second_patch_changes_nothing(patched: Patched):
    assert patch(patched.folder).diff() == ""


@pytest.mark.parametrize("value", ["False", "True"])
def test_the_patched_llava_learns_what_the_original_learns(value: str, runs: dict[str, Training]):
    own, losses = runs["own"].losses(), runs[value].losses()
    assert len(own) == len(losses) == STEPS
    assert min(losses) > 0.1, "a loss of nothing shows nothing"
    assert losses[-1] < losses[0] - 0.3, "nothing was learnt"
    assert far_apart(own, losses) == []


def test_false_runs_no_flash_attention(runs: dict[str, Training]):
    operators = runs["False"].operators()
    assert operators == {"CLIPAttention": ["aten::_softmax"], "LlamaAttention": ["aten::_softmax"]}


def test_true_runs_flash_attention(runs: dict[str, Training]):
    assert_only(runs["True"].operators(), "flash", CLASSES)


def test_true_asks_for_the_package_as_before(patched: Patched, tiny_files: Path, tmp_path: Path):
    """Without the switch the parameter's default is LLaVA's own behaviour."""
    words = arguments(tiny_files, tmp_path / "out", 1, ENVIRONMENT)
    command = ["-m", "llava.train.train_mem", *words]
    extra = {"PYTHONPATH": str(patched.folder.parent)}
    done = run(ENVIRONMENT, command, cwd=tmp_path, extra=extra)
    assert done.status == 1
    assert "FlashAttention2 has been toggled on, but it cannot be used" in done.output
