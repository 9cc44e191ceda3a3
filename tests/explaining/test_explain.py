# ruff: noqa: E501  (the text is tested as it is printed)
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
        """\
NVIDIA V100 (Volta), compute capability 7.0 (hardware profile v100), bfloat16
LlavaForConditionalGeneration under 'flash', asked for by default

This CANNOT RUN: nothing can serve 9 sites.
  out: bfloat16: Volta has compute capability 7.0; bfloat16 has hardware from 8.0 on
  out: flash-attn 2: FlashAttention 2 supports compute capability 8.0 and newer (Ampere, Ada, Hopper); Volta has compute capability 7.0
  out: flash-attn 3: FlashAttention 3 is for Hopper
  out: flash-attn 4: FlashAttention 4 is for Hopper and Blackwell
  out: SDPA flash: PyTorch's kernel needs 8.0; Volta has compute capability 7.0
  a program that asks for it stops with: ValueError: Your setup doesn't support bf16/gpu. (transformers' Trainer, where torch does not emulate it)
  a program that asks for it stops with: RuntimeError: FlashAttention only supports Ampere GPUs or newer.

What to do
  compute in float16; in LLaVA's training scripts: --bf16 False --fp16 True --tf32 False
  run the script as it is otherwise, train_mem.py too: ATTNSWITCH=no-flash bash finetune.sh
  or in code: attnswitch.apply(model, 'no-flash'); or as a policy file:
    attn: no-flash    # NVIDIA V100 (Volta): efficient, family fused

vision_tower · vision
  vision_tower.encoder.layers.0–4: NOTHING can run
    'flash', default: cannot be met there. 'standard' works everywhere; 'no-flash' takes the fastest that is not FlashAttention
    not flash_attn: needs compute capability 8.0 or newer, this GPU has 7.0
    not flash: needs compute capability 8.0 or newer, this GPU has 7.0
language_model · prefill and decode
  language_model.layers.0–3: NOTHING can run
"""
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
    assert (
        "Note: attnswitch does not route Ascend devices: a request is an error there. "
        "transformers' own attn_implementation='sdpa' runs torch_npu's fused kernel.\n"
    ) in text
    assert "    'standard', --attn: cannot be met there\n" in text
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
    with pytest.raises(ModelInputError) as caught:
        attnswitch.explain(torch.nn.Linear(2, 2), "standard")
    assert str(caught.value) == "Linear has no attention module that attnswitch recognises"
    with pytest.raises(ModelInputError, match="there is no folder /nowhere"):
        attnswitch.explain("/nowhere", "standard")


def test_on_a_cpu_half_precision_without_hardware_is_said(config):
    record = attnswitch.explain(config, "standard", on="cpu", dtype="bf16").record
    assert record["advice"]["out"][0] == (
        "bfloat16: there are no AVX-512 or AMX instructions; half precision is converted to float32"
    )
    assert record["advice"]["dtype"] == "float32"
    assert record["advice"]["policy"] is None, "what was asked for can run"
    text = str(attnswitch.explain(config, "standard", on="cpu", dtype="bf16"))
    assert "\nWhat to do\n  compute in float32\n\n" in text
    assert "\nRuns: blockwise at " in text


def test_half_of_a_model_that_can_run_is_said(config):
    """On a T4: the tower computes standard attention, the language model asks for what cannot be."""
    policy = {"attn": "standard", "rules": [{"when": {"role": "language_model"}, "use": "flash"}]}
    text = str(attnswitch.explain(config, policy, on="t4", dtype="fp16"))
    assert (
        "This CANNOT RUN: nothing can serve 2 sites.\nElsewhere runs: blockwise at 3 sites.\n"
        in text
    )


def test_a_gpu_older_than_half_precision_gets_float32s_flags(config, monkeypatch):
    from dataclasses import replace

    from attnswitch.hardware import profiles

    old = profiles.PROFILES["v100"]
    support = {**old.support, "float16": replace(old.support["bfloat16"], error="")}
    monkeypatch.setitem(profiles.PROFILES, "v100", replace(old, support=support))
    advice = attnswitch.explain(config, "flash", on="v100", dtype="fp16").record["advice"]
    assert (advice["dtype"], advice["flags"]) == (
        "float32",
        "--bf16 False --fp16 False --tf32 False",
    )


def test_rules_and_their_reasons_are_shown(config):
    text = str(attnswitch.explain(config, BY_LENGTH, on="a100", dtype="bf16"))
    assert "explain(), rule 1: features drift; math was asked for by name\n" in text
    assert " when kv_length: >4096: flash\n" in text
    assert "explain(): no rule matches; standard means blockwise here\n" in text
    for word, said in (
        ("no-flash", "the fastest that is not FlashAttention"),
        ("flash", "flash means PyTorch's kernel, else the flash-attn package"),
        ("fused", "fused means PyTorch's memory-efficient kernel"),
        ("auto", "the project's own choice stands"),
    ):
        assert said in str(attnswitch.explain(config, word, on="a100", dtype="bf16"))
