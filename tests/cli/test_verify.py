"""`attnswitch verify` from the outside: what it writes and returns, healthy and planted."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from attnswitch.cli.main import main
from tests.models import checkpoints
from tests.verification import faults


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    checkpoints.write_checkpoint(folder / "llava")
    for name in ("red", "blue"):
        Image.new("RGB", (60, 60), name).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def arguments(folder):
    return [
        "verify", "--model", str(folder / "llava"), "--image", str(folder / "red.png"),
        "--prompt", "what is in this picture ?", "--max-new-tokens", "4",
    ]  # fmt: skip


def record_of(arguments, tmp_path, *more):
    path = tmp_path / "record.json"
    status = main([*arguments, *more, "--json", str(path)])
    return status, json.loads(path.read_text())


def test_a_healthy_pair_and_the_contract(arguments, tmp_path, capsys):
    page = tmp_path / "page.html"
    status, record = record_of(
        arguments, tmp_path, "--gradients", "--train", "2", "--report", str(page)
    )
    assert status == 0
    assert record["schema"] == "attnswitch.verification/1"
    assert record["verdict"]["agrees"] is True
    for site in record["sites"]:
        assert {"site", "role", "phase", "local", "propagated", "statistics"} <= set(site)
        assert {"error", "yardstick_error", "allowed", "passes"} <= set(site["local"])
    assert {site["phase"] for site in record["sites"]} == {"vision", "prefill", "decode"}
    assert record["gradients"]["sites"][0]["local"]["passes"] is True
    assert record["tokens"]["same"] == 1
    assert record["training"]["steps"] == 2
    assert "AGREES" in capsys.readouterr().out
    html = page.read_text()
    assert html.count("<svg") >= 6
    assert "The difference between standard and flash is rounding." in html


def test_a_fault_returns_one_and_names_the_site(arguments, tmp_path, capsys):
    page = tmp_path / "page.html"
    kernel = faults.only_at("language_model.layers.1.self_attn", faults.attends_to_the_future)
    with faults.planted(kernel):
        status, record = record_of(
            arguments, tmp_path, "--candidate", "blockwise", "--report", str(page)
        )
    assert status == 1
    site = "model.language_model.layers.1.self_attn"
    assert record["verdict"]["first_failure"]["site"] == site
    out = capsys.readouterr().out
    assert "DOES NOT AGREE" in out
    assert "attends to the future" in out
    assert f"A bug: blockwise is wrong at {site}." in page.read_text()


def test_not_finite_numbers_are_json(arguments, tmp_path):
    def nan(query, *args, **kwargs):
        return query * float("nan")

    with faults.planted(nan):
        status, record = record_of(arguments, tmp_path, "--candidate", "blockwise")
    assert status == 1
    assert record["sites"][0]["local"]["error"]["max"] is None
    assert record["sites"][0]["local"]["finite"] is False
    assert "not finite" in record["verdict"]["first_failure"]["words"]


def test_bisect_prints_a_policy(arguments, tmp_path, capsys):
    kernel = faults.only_at("language_model.layers.1.self_attn", faults.two_heads_zeroed)
    with faults.planted(kernel):
        main([*arguments, "--candidate", "blockwise", "--bisect"])
    out = capsys.readouterr().out
    assert "attn: blockwise\nrules:\n" in out
    assert "  - when: {site: model.language_model.layers.1.self_attn}\n    use: flash\n" in out


def test_a_set_of_questions(folder, tmp_path):
    file = folder / "questions.jsonl"
    lines = [{"image": "red.png", "prompt": "what is this ?"},
             {"image": ["blue.png"], "prompt": "describe the left one"}]  # fmt: skip
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    arguments = ["verify", "--model", str(folder / "llava"), "--max-new-tokens", "3"]
    status, record = record_of(arguments, tmp_path, "--inputs", str(file))
    assert status == 0
    assert record["tokens"]["prompts"] == 2
    assert 0 < record["tokens"]["rate"]["low"] < record["tokens"]["rate"]["high"]
    assert [len(a["texts"]["candidate"]) for a in record["tokens"]["answers"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "questions.jsonl:1: no valid JSON"),
        ("[1]", "a line is an object with image and prompt"),
        ('{"prompt": "a", "picture": "b"}', "unknown key 'picture'; allowed: image, prompt"),
        ('{"image": "red.png"}', "prompt must be some text"),
        ('{"prompt": "a", "image": 3}', "image must be a path or a list of paths"),
        ("", "holds no question"),
    ],
)
def test_a_bad_line_is_one_line(folder, tmp_path, capsys, line, message):
    file = tmp_path / "questions.jsonl"
    file.write_text(line)
    assert main(["verify", "--model", str(folder / "llava"), "--inputs", str(file)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--candidate", "falsh"], 2, "unknown request 'falsh' (did you mean 'flash'?)"),
        (["--candidate", "efficient"], 3, "efficient: runs on cuda, not on cpu"),
        (["--inputs", "none.jsonl"], 2, "--inputs takes the place of --image and --prompt"),
        (["--bisect", "--budget", "2"], 2, "a budget of 2 is too small"),
        (["--json", "/nowhere/r.json"], 2, "there is no folder /nowhere"),
    ],
)
def test_bad_input_is_one_line_and_a_status(arguments, capsys, options, status, message):
    assert main([*arguments, *options]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith("attnswitch verify: ")


def test_a_file_that_is_not_there(folder, capsys):
    assert main(["verify", "--model", str(folder / "llava"), "--inputs", "none.jsonl"]) == 2
    assert "none.jsonl: there is no such file" in capsys.readouterr().err
