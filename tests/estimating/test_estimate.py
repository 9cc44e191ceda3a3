"""The whole estimate: its record, the command's words and exit statuses, text and page."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from attnswitch.cli.main import main
from attnswitch.errors import InputError
from attnswitch.estimating.estimate import SCHEMA, Asked, estimate
from attnswitch.estimating.scenario import Scenario, Training
from attnswitch.estimating.target import target
from attnswitch.geometries.samples import sample
from attnswitch.report.estimate_page import estimate_page
from attnswitch.report.estimate_text import estimate_text
from attnswitch.report.quantities import memory_text
from tests.estimating.small import narrow

MIB = 2**20
ATTENTION = ["--attention-only", "--no-seconds", "--no-limits"]


def record_of(training=None, on="v100", memory=48 * MIB, **asked):
    small = narrow("llava-v1.6-34b")
    scenario = Scenario(small, sample(small, tiles=3), "float16", "cuda", training=training)
    return estimate(scenario, target(on, memory, 0), Asked(**asked))


@pytest.fixture(scope="module")
def record():
    return record_of(curves=True)


def test_the_record(record):
    assert record["schema"] == SCHEMA and json.dumps(record, allow_nan=False)
    names = [row["backend"] for row in record["model"]]
    assert names == ["efficient", "blockwise", "math", "eager"]
    assert record["refused"][0]["backend"] == "flash"
    for row in record["model"]:
        assert row["peak_bytes"] == max(phase["peak_bytes"] for phase in row["phases"])
        for phase in row["phases"]:
            assert sum(phase["parts"].values()) == phase["peak_bytes"]
            assert 0 < phase["seconds"]["low"] < phase["seconds"]["high"]
        (fits,) = row["fits"]
        assert (fits["answer"] == "yes") == (row["peak_bytes"] <= 48 * MIB)
    assert [row["backend"] for row in record["limits"]] == names
    assert all(row["longest_tokens"]["fits"] > 0 for row in record["limits"])
    phases = [group["phase"] for group in record["attention"]]
    assert phases == ["vision", "prefill", "decode"]


def test_the_text(record):
    out = io.StringIO()
    estimate_text(record, Console(file=out, width=100))
    text = out.getvalue()
    assert "Not flash: needs compute capability 8.0" in text
    for row in record["model"]:
        assert row["backend"] in text
    assert f"fits {memory_text(48 * MIB)}?" in text and "spare" in text
    assert "FLOPs needed" in text and "–" in text


def test_the_page_escapes_what_comes_from_files(record):
    named = {**record, "geometry": {**record["geometry"], "name": '<b>"x"</b>\u202e'}}
    page = estimate_page(named)
    assert "<b>&#34;x" not in page and '<b>"x"' not in page and "\u202e" not in page
    assert "&lt;b&gt;" in page and page.count("<svg") == 2
    assert "<script" not in page and "http" not in page.split("<style>")[1].split("</style>")[1]


def test_training_keeps_something_for_backward():
    found = record_of(Training("lora", lora_rank=4), limits=False)
    group = next(g for g in found["attention"] if g["role"] == "language_model")
    kept = {name: row["kept_bytes"] for name, row in group["backends"].items()}
    assert kept["blockwise"] < kept["math"] and kept["blockwise"] < kept["eager"]
    phases = [phase["phase"] for phase in found["model"][0]["phases"]]
    assert phases == ["forward and backward", "optimizer step"]
    assert estimate_page(found).count("optimizer step") >= 1


def test_it_is_tight_where_the_reserve_would_not_be_left():
    small = narrow("llava-1.5-7b")
    scenario = Scenario(small, sample(small), "float16", "cuda", new_tokens=0)
    only = Asked(["flash"], limits=False, seconds=False)
    peak = estimate(scenario, target("a100", 1024 * MIB, 0), only)["model"][0]["peak_bytes"]
    for memory, reserve, answer in (
        (peak, 0, "yes"), (peak, 1, "tight"), (peak - 1, 0, "no"), (peak + MIB, MIB, "yes")
    ):  # fmt: skip
        found = estimate(scenario, target("a100", memory, reserve), only)
        assert found["model"][0]["fits"][0]["answer"] == answer


def test_pictures_of_any_size_are_foretold_without_the_whole_model():
    from attnswitch.geometries.catalogue import CATALOGUE

    qwen = CATALOGUE["qwen2.5-vl-7b"]
    found = estimate(
        Scenario(qwen, sample(qwen), "bfloat16", "cuda"), target("a100"), Asked(["flash", "math"])
    )
    assert not found["model"] and not found["limits"]
    assert "attention alone is foretold" in found["notes"][0]
    assert len({group["q_tokens"] for group in found["attention"]}) > 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--geometry", "llava-1.5-8b"], "did you mean 'llava-1.5-7b'"),
        (["--geometry", "llava-v1.6-34b", "--tiles", "7"], "has 3, 4 or 5 tiles"),
        (["--geometry", "llava-1.5-7b", "--frames", "8"], "takes no video"),
        (["--memory", "24"], "has no unit; write 24GB"),
        (["--memory", "lots"], "no amount of memory"),
        (["--on", "v1000"], "no card or machine 'v1000' (did you mean 'v100'?)"),
        (["--on", "910b"], "does not route"),
        (["--image", "big"], "WIDTHxHEIGHT"),
        (["--backends", "flesh"], "did you mean 'flash'"),
        (["--backends", "flash", "--on", "t4"], "flash cannot run there: needs compute capability"),
        (["--train", "everything"], "nothing can be trained as 'everything'"),
        (["--checkpointing"], "is for training"),
        (["--dtype", "int8"], "unknown dtype"),
        (["--new-tokens", "-1"], "cannot be negative"),
        (["--check", "--on", "v100", *ATTENTION], "measures on this machine"),
        (["--json", "/nowhere/x.json"], "/nowhere"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words, message, capsys):
    assert main(["estimate", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("attnswitch estimate: ") and message in error


def test_the_command(tmp_path, capsys):
    record, page = tmp_path / "e.json", tmp_path / "e.html"
    assert main(["estimate", "--geometry", "llava-1.5-7b", "--on", "rtx3090", *ATTENTION,
                 "--json", str(record), "--report", str(page)]) == 0  # fmt: skip
    assert "llava-1.5-7b in float16 on NVIDIA GeForce RTX 3090" in capsys.readouterr().out
    assert json.loads(record.read_text())["schema"] == SCHEMA
    assert page.read_text().startswith("<!doctype html>")


def test_the_command_measures_where_that_is_asked_for(capsys, tmp_path):
    record = tmp_path / "e.json"
    words = ["--check", "--no-seconds", "--backends", "blockwise,eager", "--new-tokens", "2"]
    assert main(["estimate", *words, "--json", str(record)]) == 0
    check = json.loads(record.read_text())["check"]
    assert check["agrees"] and len(check["rows"]) == 4
    assert "within 10 % of the measured" in capsys.readouterr().out


def test_a_measurement_that_is_off_is_status_1(monkeypatch, capsys):
    from attnswitch.estimating import checking

    monkeypatch.setattr(
        checking, "measured_peaks", lambda *_: {"prefill": 5 * MIB, "decode": 5 * MIB}
    )
    assert main(["estimate", "--check", "--no-seconds", "--backends", "flash"]) == 1
    assert "NOT within 10 %" in capsys.readouterr().out


def test_checking_attention_alone_is_refused():
    from attnswitch.estimating.checking import add_measurements

    small = narrow("llava-1.5-7b")
    scenario = Scenario(small, sample(small), "float32")
    found = estimate(scenario, target(), Asked(["flash"], whole_model=False, seconds=False))
    with pytest.raises(InputError, match="attention alone"):
        add_measurements(found, scenario, target(), print)


def test_times_are_taken_of_this_machine():
    small = narrow("llava-1.5-7b")
    where = target()
    found = estimate(
        Scenario(small, sample(small), "float32", where.device), where,
        Asked(["flash"], limits=False),
    )  # fmt: skip
    seconds = found["model"][0]["phases"][0]["seconds"]
    assert found["roof"]["source"] == "measured" and 0 < seconds["low"] < seconds["high"]
