"""The doctor is right on machines that people asked about in public."""

from __future__ import annotations

import dataclasses
import re

import pytest

from attnswitch.doctor import loader_errors
from attnswitch.doctor.availability import availability
from attnswitch.doctor.diagnosis import diagnose
from attnswitch.doctor.state import MachineState, TorchState, Wanted

from .machines import A100, ARCHS, CASES, CXX11, RTX4090, SO, V100, Case, broken, sound, torch


def complaints(case: Case) -> list[str]:
    """What is wrong with the doctor's word on a case."""
    findings = diagnose(case.state, case.wanted)
    right = [f for f in findings if case.cause in f.cause and case.remedy in f.remedy]
    if not right:
        return [f"{f}. {f.remedy}" for f in findings] or ["nothing was found"]
    wrong = [name for name in case.stops if name not in right[0].stops]
    backends = {b["name"]: b for b in availability(case.state, findings, case.wanted)}
    open_ = [name for name in case.stops if backends[name]["available"]]
    unsaid = [n for n in case.stops if not any(case.cause in r for r in backends[n]["reasons"])]
    return [*wrong, *open_, *unsaid]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.thread)
def test_cause_and_remedy(case: Case):
    assert complaints(case) == []


def test_there_are_enough_and_each_names_its_thread():
    assert len({case.thread for case in CASES}) == len(CASES) >= 25
    for case in CASES:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", case.thread)
        assert case.confirmed


def test_a_sound_machine_has_nothing_to_find():
    new = torch("2.9.0+cu128", "12.8")
    assert diagnose(sound(new, A100, "2.8.3")) == []
    assert diagnose(sound(new, A100, "2.8.3"), Wanted("bfloat16", 128, training=True)) == []
    assert diagnose(MachineState(TorchState("2.13.0+cpu"), packages={"torch": "2.13.0"})) == []
    on = {
        b["name"] for b in availability(sound(new, A100, "2.8.3"), [], Wanted()) if b["available"]
    }
    assert on == {"blockwise", "math", "eager", "reference", "efficient", "flash", "flash_attn"}


def test_the_check_can_fail(monkeypatch):
    """With the table's rows in the wrong order, the general row answers for all."""
    rows = loader_errors.LOADER_ERRORS
    monkeypatch.setattr(loader_errors, "LOADER_ERRORS", (rows[-1], *rows[:-1]))
    wrong = [case.thread for case in CASES if complaints(case)]
    assert len(wrong) >= 12


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (MachineState(None, import_errors={"torch": "libc10.so: cannot open shared object file"}),
         "torch: does not import: libc10.so: cannot open shared object file"),
        (MachineState(None), "torch: does not import: it is not installed"),
        (MachineState(TorchState("2.0.1")), "torch: 2.0.1 is older than 2.1"),
        (MachineState(TorchState("2.9.0", "12.8", cuda_error="CUDA unknown error")),
         "CUDA: does not start: CUDA unknown error"),
        (MachineState(TorchState("2.9.0+cpu"), seen_gpus=("NVIDIA L4",)),
         "torch: 2.9.0+cpu was built without CUDA, and there is NVIDIA L4"),
        (sound(torch("2.9.0", archs=("sm_80", "sm_90")), V100),
         "Tesla V100-SXM2-32GB: torch 2.9.0 has no code for its architecture sm_70 (it has sm_80, "
         "sm_90): architecture not supported"),
        (broken("version `GLIBCXX_3.4.29' not found", "2.7.2", torch("2.5.1")),
         "flash-attn 2.7.2: it was built with a newer C++ library than the one that is loaded here "
         "(GLIBCXX_3.4.29 is missing)"),
        (broken(f"{SO}: undefined symbol: {CXX11}", "2.8.0", torch("2.7.0", cxx11_abi=True)),
         f"flash-attn 2.8.0: it was built against another torch than this one (2.7.0): undefined "
         f"symbol {CXX11}"),
        (broken("something new", "2.8.0", torch("2.7.0")),
         "flash-attn 2.8.0: it does not import: ImportError: something new"),
        (sound(torch("2.9.0"), RTX4090, "2.8.0", warnings={"xformers": "xFormers was built for: "
               "PyTorch 2.1.0+cu121 with CUDA 1201 (you have 2.9.0)"}),
         "xformers: its extensions were built for torch 2.1.0+cu121 and do not load with torch "
         "2.9.0"),
        (dataclasses.replace(
            sound(torch("2.7.0"), A100, "2.8.0.post2"),
            packages={"torch": "2.7.0", "flash-attn": "2.8.0.post2", "xformers": "0.0.31"},
            import_errors={"xformers": "ImportError: Requires Flash-Attention version "
                           ">=2.7.1,<=2.8.0 but got 2.8.0post2."}),
         "xformers 0.0.31: it takes flash-attn >=2.7.1,<=2.8.0 only"),
    ],
)  # fmt: skip
def test_every_other_cause(state, said):
    assert said in [str(finding) for finding in diagnose(state)]


def test_wide_heads():
    def causes(width, version, gpu=RTX4090, training=True):
        found = diagnose(sound(torch("2.9.0"), gpu, version), Wanted("bfloat16", width, training))
        return [f.cause for f in found]

    assert causes(256, "2.5.5") == []
    assert causes(256, "2.3.0") == [
        "FlashAttention 2's backward pass for head width over 192 needs an A100 or H100, for its "
        "shared memory; this is NVIDIA GeForce RTX 4090"
    ]
    assert causes(256, "2.3.0", training=False) == []
    assert causes(256, "2.5.4", A100) == []
    assert causes(192, "2.5.4") == []
    assert causes(320, "2.8.0") == ["FlashAttention 2 takes at most 256"]


def test_ptx_counts_as_code_for_newer_gpus():
    assert diagnose(sound(torch("2.9.0", archs=(*ARCHS, "compute_90")), A100, "2.8.0")) == []
    fresh = dataclasses.replace(A100, name="a newer one", capability=(12, 0))
    assert diagnose(sound(torch("2.9.0", archs=(*ARCHS, "compute_90")), fresh, "2.8.0")) == []
