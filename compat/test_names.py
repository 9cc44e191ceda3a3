"""A request for FlashAttention in code obeys the switch, in each generation of transformers."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path

import pytest

from compat.broken_package import write_broken_flash_attn
from compat.kernels import assert_only
from compat.running import PROGRAMS, Finished, start

REQUESTS = ("standard", "flash")
PACKAGES = ("missing", "broken")
CLASSES = {"llama": ["Llama"], "clip": ["CLIP"], "llava": ["CLIP", "Llama"]}
# How many ways of asking each generation has, so that none is left out unseen.
CASES = {"4.31": 2, "4.36": 10, "4.37": 10, "4.40": 10, "4.45": 11, "4.50": 13, "4.57": 15, "5": 15}
VERSIONS = list(CASES)

Started = tuple[Future[Finished], Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None, str], Started]:
    """{(version, request, state of flash_attn): a run of every case}, all started together."""
    folder = tmp_path_factory.mktemp("names")
    broken = {"PYTHONPATH": str(write_broken_flash_attn(folder / "broken"))}
    keys = [(version, None, "missing") for version in VERSIONS]
    keys += [
        (v, request, package) for v in VERSIONS for request in REQUESTS for package in PACKAGES
    ]
    started = {}
    for version, request, package in keys:
        out = folder / f"{version}-{request}-{package}.json"
        command = [PROGRAMS / "names.py", out, *(["plain"] if request is None else [])]
        extra = broken if package == "broken" else None
        started[version, request, package] = (
            start(version, command, attn=request, extra=extra),
            out,
        )
    return started


def results(started: Started) -> dict:
    started[0].result().expect_success()
    return json.loads(started[1].read_text())


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("request_word", REQUESTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_way_of_asking_obeys(runs, version, request_word, package):
    found = results(runs[version, request_word, package])
    errors = {name: case["error"] for name, case in found.items() if "error" in case}
    assert not errors
    assert len(found) == CASES[version]
    for name, case in found.items():
        print(name)
        assert_only(case["operators"], request_word, CLASSES[case["model"]])


@pytest.mark.parametrize("request_word", REQUESTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_outputs_agree_with_the_model_as_it_is(runs, version, request_word):
    own = results(runs[version, None, "missing"])
    for name, case in results(runs[version, request_word, "missing"]).items():
        print(name)
        wanted = own[f"{case['model']} as it is"]["logits"]
        assert case["logits"] == pytest.approx(wanted, abs=1e-4)
