"""From a request to a backend: what is picked, and every reason for what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attnswitch.backends.catalogue import CATALOGUE, FAMILIES, FASTEST_FIRST, requestable
from attnswitch.errors import UnavailableError
from attnswitch.policy.requests import parse_request
from attnswitch.policy.resolve import resolve
from attnswitch.types import Circumstances, Site

CPU = Circumstances(device="cpu", dtype="float32")
V100 = Circumstances(device="cuda", dtype="bfloat16", capability=(7, 0))
A100 = Circumstances(device="cuda", dtype="bfloat16", capability=(8, 0))
NO_PACKAGE = frozenset({"flash_attn: the package flash_attn is not installed"})


@pytest.mark.parametrize(
    ("word", "call", "backend"),
    [
        ("standard", CPU, "blockwise"),
        ("flash", CPU, "flash"),
        ("no-flash", CPU, "blockwise"),
        ("no-flash", A100, "efficient"),
        ("no-flash", V100, "blockwise"),
        ("no-flash", replace(V100, dtype="float16"), "efficient"),
        ("standard", V100, "blockwise"),
        ("flash", A100, "flash"),
        ("auto", CPU, "auto"),
        ("math", CPU, "math"),
        ("fused", A100, "efficient"),
    ],
)
def test_what_a_request_means(word, call, backend):
    assert resolve(parse_request(word), call, missing_packages=NO_PACKAGE).backend == backend


def test_flash_where_it_cannot_run_gives_every_reason():
    with pytest.raises(UnavailableError) as caught:
        resolve(parse_request("flash"), V100, missing_packages=NO_PACKAGE)
    message = str(caught.value)
    assert "flash: needs compute capability 8.0 or newer, this GPU has 7.0" in message
    assert "the package flash_attn is not installed" in message
    assert "'standard' works everywhere" in message
    assert caught.value.exit_status == 3


def test_a_broken_package_says_its_cause():
    broken = frozenset({"flash_attn: installed but does not import: undefined symbol: _ZN3c10"})
    with pytest.raises(UnavailableError, match="undefined symbol: _ZN3c10"):
        resolve(parse_request("flash_attn"), A100, missing_packages=broken)


def test_a_site_with_only_its_own_code():
    site = Site("tower.0", "vision_tower", "own")
    own = Circumstances(dtype="float32", has_eager=True, has_sdpa=False)
    assert resolve(parse_request("standard"), own, site=site).backend == "eager"
    with pytest.raises(UnavailableError, match=r"at tower.0.*takes no other"):
        resolve(parse_request("flash"), own, site=site, missing_packages=NO_PACKAGE)


def test_a_choice_says_why_each_faster_backend_was_passed_over():
    choice = resolve(parse_request("standard"), CPU, missing_packages=NO_PACKAGE)
    refused = {r.backend: r.reasons for r in choice.refused}
    assert list(refused) == ["flash_attn", "flash", "efficient"]
    assert refused["flash"] == ("'standard' was asked for",)
    assert "runs on cuda, not on cpu" in refused["efficient"]


def test_the_catalogue_is_whole():
    assert set(requestable()) == set(FASTEST_FIRST)
    in_families = [name for names in FAMILIES.values() for name in names]
    assert sorted(in_families) == sorted(requestable())
    for family, names in FAMILIES.items():
        assert {CATALOGUE[name].family for name in names} == {family}
