"""`explain`: from a config alone, for this machine and for others; what it says, word by word."""

from __future__ import annotations

import json

import pytest
import torch

import attnswitch
from attnswitch.cli.main import main
from attnswitch.errors import InputError, ModelInputError
from attnswitch.hardware.profiles import PROFILES, SOURCES, profile_of, profile_of_cpu
from tests.core import tiny_llava

BY_LENGTH = {
    "attn": "standard",
    "rules": [
        {"when": {"role": "vision_tower"}, "use": "math", "because": "features drift"},
        {"when": {"phase": "prefill", "kv_length": ">4096"}, "use": "flash"},
    ],
}


@pytest.fixture(scope="module")
def config():
    return tiny_llava.build().config


def test_nothing_is_allocated(config, monkeypatch):
    """The model is built on the meta device, where tensors have no memory."""
    from attnswitch.models.skeleton import skeleton

    model, dtype = skeleton(config)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert dtype in (None, "float32")


def test_what_would_run_is_what_runs(config):
    model = tiny_llava.build()
    for request in ("standard", "flash", "no-flash", "math", BY_LENGTH):
        with attnswitch.apply(model, request) as plan:
            planned = {p: {c.backend for c in ch.possible} for p, ch in plan.choices.items()}
        lines = attnswitch.explain(config, request).record["sites"]
        explained: dict = {}
        for line in lines:
            explained.setdefault(line["site"], set()).add(line["planned"])
        assert explained == planned


def test_what_only_a_call_can_tell_stays_a_condition(config):
    lines = attnswitch.explain(config, BY_LENGTH).record["sites"]
    vision = [line for line in lines if line["role"] == "vision_tower"]
    assert {(v["phase"], v["planned"], v["when"]) for v in vision} == {("vision", "math", "")}
    assert vision[0]["rule"] == "features drift; math was asked for by name"
    assert vision[0]["source"] == "explain(), rule 1"
    language = [line for line in lines if line["site"].endswith("layers.0.self_attn")
                and line["role"] == "language_model"]  # fmt: skip
    assert [(v["phase"], v["when"], v["planned"]) for v in language] == [
        ("prefill", "kv_length: >4096", "flash"),
        ("prefill", "", "blockwise"),
        ("decode", "", "blockwise"),
    ]
    refused = {r["backend"]: r["reasons"] for r in language[2]["refused"]}
    assert refused["efficient"] == ["runs on cuda, not on cpu"]


def test_v100s_and_bf16_are_one_command(capsys, tmp_path):
    path = tmp_path / "explanation.json"
    assert main(["explain", "--on", "v100", "--dtype", "bf16", "--json", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "NVIDIA V100 (Volta), compute capability 7.0 (hardware profile v100), bfloat16\n"
        "LlavaForConditionalGeneration under 'flash', asked for by default\n"
        "Out: bfloat16: Volta has compute capability 7.0; bfloat16 has hardware from 8.0 on.\n"
        "Out: flash-attn 2: FlashAttention 2 supports compute capability 8.0 and newer (Ampere, "
        "Ada, Hopper); Volta has compute capability 7.0.\n"
    )
    assert "Out: SDPA flash: PyTorch's kernel needs 8.0; Volta has compute capability 7.0." in text
    assert "language_model.layers.0–3: NOTHING can run\n" in text
    assert text.endswith(
        "Use float16 (in LLaVA's training scripts: --bf16 False --fp16 True --tf32 False).\n"
        "Use this policy, as ATTNSWITCH=policy.yaml or attnswitch.apply(model, 'policy.yaml'):\n\n"
        "    attn: no-flash    # NVIDIA V100 (Volta): efficient, family fused\n"
    )
    record = json.loads(path.read_text())
    assert record["schema"] == "attnswitch.explanation/1"
    assert {line["planned"] for line in record["sites"]} == {None}
    assert set(record["sites"][0]) >= {
        "site", "role", "phase", "requested", "planned", "rule", "refused",
    }  # fmt: skip


def test_the_proposed_policy_can_be_met_there(config, tmp_path):
    for name in PROFILES:
        advice = attnswitch.explain(config, "flash", on=name, dtype="bf16").record["advice"]
        if advice["policy"] is None:
            continue
        path = tmp_path / f"{name}.yaml"
        path.write_text(advice["policy"])
        again = attnswitch.explain(config, str(path), on=name, dtype=advice["dtype"] or "bf16")
        assert again.met, name


@pytest.mark.parametrize(
    ("on", "dtype", "backend"),
    [
        ("a100", "bf16", "flash"), ("h100", "fp16", "flash"), ("rtx 3090", "bf16", "flash"),
        ("rtx40", "fp16", "flash"), ("cpu-amx", "bf16", "flash"), ("cpu", "fp32", "flash"),
        ("Tesla T4", "fp16", None), ("v100", "fp16", None), ("910b", "fp16", None),
        ("a100", "fp32", None),
    ],
)  # fmt: skip
def test_flash_on_other_machines(config, on, dtype, backend):
    found = attnswitch.explain(config, "flash", on=on, dtype=dtype)
    assert {line["planned"] for line in found.record["sites"]} == {backend}


def test_a_request_that_cannot_be_met_there_is_status_3(capsys):
    assert main(["explain", "--on", "910b", "--attn", "standard"]) == 3
    text = capsys.readouterr().out
    assert "Note: attnswitch does not route Ascend devices: a request is an error there." in text
    assert "not blockwise: attnswitch does not route npu devices" in text
    assert main(["explain", "--on", "v200"]) == 2
    said = capsys.readouterr().err
    assert "no hardware profile 'v200' (did you mean 'v100'?); there are v100, t4, rtx30" in said


def test_every_statement_of_a_profile_has_a_source_that_exists():
    assert set(PROFILES) == {
        "v100", "t4", "rtx30", "rtx40", "a100", "h100", "910b", "cpu", "cpu-avx512", "cpu-amx",
    }  # fmt: skip
    for profile in PROFILES.values():
        assert {"float16", "bfloat16", "flash-attn 2", "flash-attn 3", "flash-attn 4", "SDPA flash",
                "SDPA efficient", "SDPA math"} == set(profile.support)  # fmt: skip
        for name, support in profile.support.items():
            assert support.runs or (support.why and support.source in SOURCES), (profile, name)
            assert support.source in (*SOURCES, "")


def test_names_of_machines():
    assert profile_of("NVIDIA Tesla V100").name == "v100"
    assert profile_of("GeForce RTX 4090").name == "rtx40"
    assert profile_of_cpu(["avx2"]).name == "cpu"
    assert profile_of_cpu(["avx2", "avx512f"]).name == "cpu-avx512"
    assert profile_of_cpu(["avx512f", "amx_bf16"]).name == "cpu-amx"
    with pytest.raises(InputError):
        profile_of("")


def test_what_cannot_be_explained():
    with pytest.raises(ModelInputError) as caught:
        attnswitch.explain(3, "standard")
    assert str(caught.value) == (
        "explain takes a model, a transformers configuration, a folder or a hub id, not int"
    )
    with pytest.raises(ModelInputError, match="Linear has no attention module"):
        attnswitch.explain(torch.nn.Linear(2, 2), "standard")
    with pytest.raises(ModelInputError, match="there is no folder /nowhere"):
        attnswitch.explain("/nowhere", "standard")


def test_on_a_cpu_half_precision_without_hardware_is_said(config):
    record = attnswitch.explain(config, "standard", on="cpu", dtype="bf16").record
    assert record["advice"]["out"][0] == (
        "bfloat16: there are no AVX-512 or AMX instructions; half precision is converted to float32"
    )
    assert record["advice"]["dtype"] == "float32"
