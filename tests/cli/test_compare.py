"""`attnswitch compare` from the outside: what it writes and returns, healthy and planted."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from attnswitch.backends import exact, replace_backend
from attnswitch.cli.main import main
from tests.models import checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "llava"
    checkpoints.write_checkpoint(folder)
    Image.new("RGB", (60, 60), "red").save(folder.parent / "red.png")
    return folder


@pytest.fixture
def arguments(checkpoint):
    return [
        "compare", "--model", str(checkpoint), "--image", str(checkpoint.parent / "red.png"),
        "--prompt", "what is in this picture ?", "--max-new-tokens", "4", "--rounds", "2",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def healthy(checkpoint, tmp_path_factory):
    """One healthy comparison, its files, and what it returned."""
    out = tmp_path_factory.mktemp("out")
    status = main(
        ["compare", "--model", str(checkpoint), "--image", str(checkpoint.parent / "red.png"),
         "--prompt", "what is <b>this</b> ?", "--max-new-tokens", "4", "--rounds", "2",
         "--json", str(out / "r.json"), "--report", str(out / "r.html")]
    )  # fmt: skip
    return status, json.loads((out / "r.json").read_text()), (out / "r.html").read_text()


def test_a_healthy_pair_agrees(healthy):
    status, record, _ = healthy
    assert status == 0
    assert record["schema"] == "attnswitch.comparison/1"
    assert record["verdict"]["agrees"] is True
    assert record["verdict"]["first_difference"] is None
    assert "each is within twice the error" in record["verdict"]["explanation"]


def test_the_record_keeps_the_contract(healthy):
    _, record, _ = healthy
    assert [run["request"] for run in record["runs"]] == ["flash", "standard"]
    for run in record["runs"]:
        assert {"request", "answer", "tokens", "receipts", "seconds", "peak_bytes"} <= set(run)
        assert run["seconds"]["prefill"] > 0
        assert run["seconds"]["decode_per_token"] > 0
        assert run["peak_bytes"] > 0
        assert len(run["samples"]["prefill"]) == 2
        assert run["mismatches"] == []


def test_receipts_name_flash_only_where_it_was_asked_for(healthy):
    _, record, _ = healthy
    flash, standard = (run["receipts"] for run in record["runs"])
    assert {r["family"] for r in flash} == {"flash"}
    assert {r["family"] for r in standard} == {"standard"}
    assert not any("flash" in name for r in standard for name in r["executed"])
    assert {r["evidence"] for r in standard} == {"guarded"}
    for receipts in (flash, standard):
        assert {r["phase"] for r in receipts} == {"vision", "prefill", "decode"}


def test_every_site_was_judged_on_the_same_inputs(healthy):
    _, record, _ = healthy
    judged = {(s["site"], s["phase"], s["backend"]) for s in record["verdict"]["sites"]}
    sites = {(r["site"], r["phase"]) for run in record["runs"] for r in run["receipts"]}
    assert judged == {(s, p, b) for s, p in sites for b in ("flash", "blockwise")}
    whats = {check["what"] for check in record["verdict"]["checks"]}
    assert whats == {"logits of the answer", "logits of a left-padded batch"}


def test_the_page_escapes_what_the_user_wrote(healthy):
    _, _, page = healthy
    assert "<b>this</b>" not in page
    assert "&lt;b&gt;this&lt;/b&gt;" in page


def sees_the_future(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **kwargs):
    """Standard attention that forgets what must not be seen, but for padding columns."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = attn_mask.any(dim=-2, keepdim=True)
    return exact.yardstick(query, key, value, attn_mask, dropout_p, False, **kwargs)


def ignores_padding(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **kwargs):
    """Standard attention that is causal and takes no notice of any mask."""
    causal = is_causal or (attn_mask is not None and query.shape[-2] == key.shape[-2])
    return exact.yardstick(query, key, value, None, dropout_p, causal, **kwargs)


def scale_off_by_one_percent(query, key, value, *args, scale=None, **kwargs):
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return exact.yardstick(query, key, value, *args, scale=scale * 1.01, **kwargs)


@pytest.mark.parametrize(
    ("wrong", "first_site", "in_the_logits"),
    [
        (sees_the_future, "model.language_model.layers.0.self_attn", True),
        (ignores_padding, "model.language_model.layers.0.self_attn", True),
        (scale_off_by_one_percent, "model.vision_tower.encoder.layers.0.self_attn", False),
    ],
)
def test_a_wrong_backend_is_caught_and_placed(
    arguments, tmp_path, wrong, first_site, in_the_logits
):
    replace_backend("blockwise", wrong)
    status = main([*arguments, "--candidate", "blockwise", "--json", str(tmp_path / "r.json")])
    verdict = json.loads((tmp_path / "r.json").read_text())["verdict"]
    assert status == 1
    assert verdict["agrees"] is False
    failing = [s for s in verdict["sites"] if not s["local"]["passes"]]
    assert {s["backend"] for s in failing} == {"blockwise"}
    assert failing[0]["site"] == first_site
    failed_checks = {c["run"] for c in verdict["checks"] if not c["passes"]}
    assert failed_checks == ({"blockwise"} if in_the_logits else failed_checks - {"flash"})


def test_a_backend_that_is_not_what_it_says_is_a_mismatch(arguments, tmp_path):
    """Right numbers from another kernel: the receipts give it away."""
    from attnswitch.backends import torch_math

    replace_backend("blockwise", torch_math.attend)
    status = main([*arguments, "--candidate", "blockwise", "--json", str(tmp_path / "r.json")])
    record = json.loads((tmp_path / "r.json").read_text())
    assert status == 1
    assert "blockwise planned, math ran" in record["verdict"]["explanation"]
    assert all(s["local"]["passes"] for s in record["verdict"]["sites"])


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--candidate", "falsh"], 2, "unknown request 'falsh' (did you mean 'flash'?)"),
        (["--candidate", "off"], 2, "write 'standard' to turn FlashAttention off"),
        (["--candidate", "efficient"], 3, "efficient: runs on cuda, not on cpu"),
        (["--candidate", "none.yaml"], 2, "none.yaml: there is no such policy file"),
        (["--image", "none.png"], 2, "there is no picture none.png"),
        (["--model", "/nowhere/at/all"], 2, "/nowhere/at/all"),
        (["--dtype", "float17"], 2, "float17"),
        (["--max-new-tokens", "5000"], 2, "context"),
        (["--json", "/nowhere/r.json"], 2, "there is no folder /nowhere"),
    ],
)
def test_bad_input_is_one_line_and_a_status(arguments, capsys, options, status, message):
    assert main([*arguments, *options]) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert error.strip().splitlines()[-1].startswith("attnswitch compare: ")


@pytest.mark.parametrize("place", ["before the command", "after it"])
def test_debug_shows_the_traceback_beside_the_line(arguments, capsys, place):
    asked = [*arguments, "--candidate", "falsh"]
    assert main(["--debug", *asked] if place.startswith("before") else [*asked, "--debug"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error and "RequestError" in error
    assert error.strip().splitlines()[-1].startswith("attnswitch compare: ")


def test_a_picture_is_looked_at_before_the_model(arguments, capsys):
    """A model takes a minute to load, a missing picture none."""
    assert main([*arguments, "--model", "/nowhere", "--image", "none.png"]) == 2
    assert "there is no picture none.png" in capsys.readouterr().err


def test_json_to_standard_output_leaves_messages_to_standard_error(arguments, capsys):
    assert main([*arguments, "--json", "-", "--rounds", "1"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"]["agrees"] is True
    assert "AGREES" in captured.err
