"""The receipts of a model that nobody named hold every site, the vision tower's included."""

from __future__ import annotations

from pathlib import Path

from tests.run.launching import FLASH, receipts, run

PROGRAM = str(Path(__file__).with_name("watched_program.py"))


def lines(folder: Path, *words: str) -> list[tuple[object, ...]]:
    done = run(folder, "--receipt", "r.json", *words)
    assert done.returncode == 0, done.stderr
    return [
        (one["site"], one["role"], one["phase"], one["backend"], one["evidence"], one["calls"])
        for one in receipts(folder / "r.json")
    ]


def test_generate_under_standard(tmp_path):
    found = lines(tmp_path, "--attn", "standard", PROGRAM, "answer")
    vision = "model.vision_tower.encoder.layers.{}.self_attn"
    text = "model.language_model.layers.{}.self_attn"
    ran = ("blockwise", "guarded")
    assert sorted(found) == sorted(
        [(vision.format(i), "vision_tower", "vision", *ran, 1) for i in (0, 1)]
        + [(text.format(i), "language_model", "prefill", *ran, 1) for i in (0, 1)]
        + [(text.format(i), "language_model", "decode", *ran, 9) for i in (0, 1)]
    )


def test_training_unswitched_forward_and_backward(tmp_path):
    found = lines(tmp_path, PROGRAM, "train")
    assert {line[2] for line in found} == {"vision", "prefill", "backward"}
    assert {line[3:5] for line in found} == {("flash", "op")}
    assert [line[5] for line in found if line[0]] == [3, 3, 3, 3]
    (backward,) = (one for one in receipts(tmp_path / "r.json") if one["phase"] == "backward")
    assert backward["executed"] == [f"{FLASH}_backward"]
    assert backward["site"] is None
