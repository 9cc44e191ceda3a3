# ruff: noqa: E501  (the text is tested as it is pasted)
"""The record and its text; the probe runs attention for real and is not to be fooled."""

from __future__ import annotations

import json

import pytest

from attnswitch.backends import attend_with, replace_backend
from attnswitch.cli.main import main
from attnswitch.doctor import collect as collecting
from attnswitch.doctor.collect import collect
from attnswitch.doctor.examine import examine
from attnswitch.doctor.probe import probe
from attnswitch.doctor.state import MachineState, Wanted
from attnswitch.report.doctor_text import doctor_text

from .machines import V100, broken, torch


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("backend", "kernel"),
    [
        ("blockwise", "attnswitch::blockwise"),
        ("math", "aten::_scaled_dot_product_attention_math"),
        ("flash", "aten::_scaled_dot_product_flash_attention_for_cpu"),
    ],
)
def test_a_probe_runs_both_ways_and_names_the_kernel(backend, kernel, dtype):
    found = probe(backend, "cpu", dtype)
    assert (found["ran"], found["kernels"]) == (True, [kernel])
    assert found["checks"]["output"]["passes"]
    # PyTorch's CPU kernel is at the bound in its float16 gradient of the keys.
    assert found["agrees"] or (backend, dtype) == ("flash", "float16")
    assert set(found["checks"]) == {
        "output", "gradient of query", "gradient of key", "gradient of value",
    }  # fmt: skip


def test_a_probe_finds_a_backend_that_attends_to_the_future():
    flash = attend_with("flash")
    replace_backend("flash", lambda q, k, v, m, p, causal, **kw: flash(q, k, v, m, p, False, **kw))
    record = examine(with_probe=True)
    found = next(b for b in record["backends"] if b["name"] == "flash")
    assert not found["available"]
    assert found["reasons"] == [
        "the probe failed: not within the allowed error: output, gradient of query, gradient of "
        "key, gradient of value"
    ]
    assert "DOES NOT AGREE with the float64 reference" in doctor_text(record)


def test_a_probe_that_cannot_run_says_why():
    found = probe("flash_attn", "cpu", "bfloat16")
    assert not found["ran"]
    assert found["error"].startswith("UnavailableError: flash-attn cannot take this attention call")
    assert "there is none here to run" in probe("eager", "cpu")["error"]


def test_this_machine():
    state = collect()
    assert state.torch is not None
    assert state.import_errors == {}
    record = examine(with_probe=True)
    on = {b["name"] for b in record["backends"] if b["available"]}
    assert {"blockwise", "math", "reference", "flash"} <= on
    json.dumps(record)
    assert record["schema"] == "attnswitch.doctor/1"
    assert {"name", "family", "available", "reasons", "remedy", "probe"} == set(
        record["backends"][0]
    )


def test_the_text_can_be_pasted_into_an_issue():
    said = "flash_attn_2_cuda.so: undefined symbol: _ZN3c104cuda9SetDeviceEi"
    state = broken(said, "2.5.7", torch("2.3.0+cu121", "12.1"), V100, driver="535.54")
    text = doctor_text(examine(Wanted("bfloat16"), state=state))
    assert (
        text
        == """\
Environment
  python: 3.10
  system: Linux x86_64
  driver: 535.54
  gpus: name\u00a0Tesla V100-SXM2-32GB, capability\u00a07.0
  torch: 2.3.0+cu121
  torch cuda: 12.1
  torch architectures: sm_50, sm_60, sm_70, sm_75, sm_80, sm_86, sm_90, compute_90
  packages: torch\u00a02.3.0+cu121, flash-attn\u00a02.5.7

Broken or impossible
  Tesla V100-SXM2-32GB: FlashAttention needs compute capability 8.0 (Ampere) or newer, this has 7.0
    remedy: ask for no-flash (or standard): attnswitch run --attn no-flash script.py
  flash-attn 2.5.7: it was built against another torch than this one (2.3.0+cu121): undefined symbol _ZN3c104cuda9SetDeviceEi
    remedy: rebuild it against this torch: pip uninstall -y flash-attn && pip install flash-attn --no-build-isolation --no-cache-dir; or install the release wheel whose name says torch2.3, cu12 and cxx11abiTRUE or FALSE as torch is
  bfloat16 on Tesla V100-SXM2-32GB: bfloat16 has hardware from compute capability 8.0 on, this has 7.0
    remedy: use float16: --bf16 False --fp16 True --tf32 False

Backends
  blockwise (standard): available
  math (standard): available
  eager (standard): available
  reference (standard): available
  efficient (fused): not available
    because bfloat16 on Tesla V100-SXM2-32GB: bfloat16 has hardware from compute capability 8.0 on, this has 7.0
    remedy: use float16: --bf16 False --fp16 True --tf32 False
  flash (flash): not available
    because Tesla V100-SXM2-32GB: FlashAttention needs compute capability 8.0 (Ampere) or newer, this has 7.0
    remedy: ask for no-flash (or standard): attnswitch run --attn no-flash script.py
  flash_attn (flash): not available
    because Tesla V100-SXM2-32GB: FlashAttention needs compute capability 8.0 (Ampere) or newer, this has 7.0
    because flash-attn 2.5.7: it was built against another torch than this one (2.3.0+cu121): undefined symbol _ZN3c104cuda9SetDeviceEi
    remedy: ask for no-flash (or standard): attnswitch run --attn no-flash script.py
"""
    )


def test_the_command(capsys, tmp_path):
    path = tmp_path / "doctor.json"
    assert main(["doctor", "--dtype", "bf16", "--json", str(path)]) == 0
    assert "Nothing is broken." in capsys.readouterr().out
    assert json.loads(path.read_text())["schema"] == "attnswitch.doctor/1"
    assert main(["doctor", "--dtype", "bf17"]) == 2
    assert "unknown dtype 'bf17'" in capsys.readouterr().err


def test_the_driver_and_gpus_that_torch_does_not_see(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '535.54.03, NVIDIA L4'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collecting._nvidia_smi() == ("535.54.03", ("NVIDIA L4",))
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert collecting._nvidia_smi() == (None, ())


def test_what_a_probe_says():
    def lines(**probe):
        record = examine(state=MachineState(None))
        found = {"ran": True, "agrees": True, "dtype": "float32", "device": "cpu", "error": "",
                 "kernels": [], "checks": {}} | probe  # fmt: skip
        record["backends"] = [record["backends"][0] | {"probe": found}]
        return doctor_text(record).splitlines()

    assert lines()[-1] == (
        "    probe: forward and backward ran (float32 on cpu), agrees with the float64 reference; no "
        "attention kernel was seen"
    )
    assert lines(kernels=["attnswitch::blockwise"])[-1].endswith("; kernels: attnswitch::blockwise")
    assert lines(ran=False, error="OutOfMemoryError: no room")[-1] == (
        "    probe: did not run (float32 on cpu): OutOfMemoryError: no room"
    )


def test_a_backend_that_fails_its_probe_is_not_offered():
    def fails(*_, **__):
        raise RuntimeError("no kernel image")

    replace_backend("math", fails)
    try:
        found = next(
            b for b in examine(with_probe=True)["backends"] if b["name"] == "math"
        )  # fmt: skip
    finally:
        replace_backend("math", None)
    assert not found["available"]
    assert found["reasons"] == ["the probe failed: RuntimeError: no kernel image"]
    assert found["remedy"] == "do not use it here; 'standard' is the other way"
