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
    assert {line[5] for line in found} == {3}
    backward = [one for one in receipts(tmp_path / "r.json") if one["phase"] == "backward"]
    assert {tuple(one["executed"]) for one in backward} == {(f"{FLASH}_backward",)}
    # The picture's features are those of the layer before the last.
    assert {one["site"] for one in backward} == {
        "model.vision_tower.encoder.layers.0.self_attn",
        "model.language_model.layers.0.self_attn",
        "model.language_model.layers.1.self_attn",
    }


def test_a_kernel_that_changes_between_looks_is_noticed(tmp_path):
    """Pass 3 is not profiled and runs no FlashAttention: nothing may be said to have run there."""
    found = lines(tmp_path, str(Path(__file__).with_name("fickle_program.py")))
    calls = {}
    for site, _, _, backend, evidence, times in found:
        calls[site.rpartition(".layers.")[2], backend, evidence] = times
    assert calls == {
        (f"{layer}.self_attn", *told): times
        for layer in (0, 1)
        for told, times in ((("flash", "op"), 6), ((None, "unobserved"), 1))
    }


def test_a_trace_inside_the_processes_receipts_takes_nothing_from_them(tmp_path):
    """Rules decide by length, so that both have to note what was decided at each call."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "attn: flash\nrules:\n  - when: {role: language_model, kv_length: '>=12'}\n    use: math\n"
    )
    program = str(Path(__file__).with_name("traced_program.py"))
    words = ("--receipt", "r.json", "--attn", str(policy), program, "answer")
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    keys = ("site", "role", "phase", "backend", "calls")
    of_process = {"|".join(str(one[k]) for k in keys) for one in receipts(tmp_path / "r.json")}
    of_trace = set(done.stdout.splitlines())
    # Eight keys from the prompt: tokens with up to eleven run flash, the other six math.
    text = "model.language_model.layers.{}.self_attn|language_model|decode|{}|{}"
    for layer in (0, 1):
        assert {text.format(layer, "flash", 3), text.format(layer, "math", 6)} <= of_trace
    assert of_process == of_trace
