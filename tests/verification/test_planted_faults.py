"""Each wrong kernel is found, at the right site first, and called by its name."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from tests.verification import faults, models

FIRST_OF_TEXT = "model.language_model.layers.0.self_attn"
SECOND_OF_TEXT = "model.language_model.layers.1.self_attn"
SECOND_OF_VISION = "model.vision_tower.encoder.layers.1.self_attn"
DTYPES = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"]
)


def verified(kernel, dtype, model=None, inputs=None, **wanted):
    model = models.llava(dtype) if model is None else model
    inputs = models.inputs(dtype) if inputs is None else inputs
    wanted = {"max_new_tokens": 2, **wanted}
    with faults.planted(kernel):
        return attnswitch.verify(model, inputs, candidate="blockwise", **wanted)


@DTYPES
def test_a_healthy_pair_has_no_finding(dtype):
    found = attnswitch.verify(models.llava(dtype), models.inputs(dtype), gradients=True)
    assert [str(failure) for failure in found.failures] == []
    assert found.agrees
    assert "flash and standard agree" in found.explanation or "standard and flash" in (
        found.explanation
    )


@DTYPES
@pytest.mark.parametrize(
    ("kernel", "site", "words"),
    [
        (faults.attends_to_the_future, SECOND_OF_TEXT, "it attends to the future"),
        (faults.ignores_padding, FIRST_OF_TEXT, "it ignores padding"),
        (faults.scaled(1.01), SECOND_OF_TEXT, "its scale is off: the factor on QKᵀ is"),
        (faults.two_heads_zeroed, SECOND_OF_VISION, "heads 1 and 2 of 4 give nothing but zeros"),
    ],
    ids=["future", "padding", "scale", "heads"],
)
def test_a_fault_in_one_layer_is_placed_and_named(dtype, kernel, site, words):
    found = verified(faults.only_at(site, kernel), dtype)
    assert not found.agrees
    first = found.first_failure
    assert (first.kind, first.site, first.who) == ("local", site, "candidate")
    assert words in first.words
    assert words in found.explanation
    local = [failure.site for failure in found.failures if failure.kind == "local"]
    assert set(local) == {site}, "a healthy site was blamed for what came before it"


def test_scores_that_overflow_in_half_precision_are_named():
    model = models.llava(torch.float16, logit_scale=1.0)
    with torch.no_grad():
        attention = model.get_submodule(SECOND_OF_TEXT)
        attention.q_proj.weight.mul_(600.0)
        attention.k_proj.weight.mul_(600.0)
    found = verified(faults.overflows, torch.float16, model)
    first = found.first_failure
    assert (first.site, first.kind) == (SECOND_OF_TEXT, "local")
    assert "not finite" in first.words
    assert "scores overflow in float16, whose largest number is 65,504" in first.words
    entry = next(e for e in found.to_json()["sites"] if e["site"] == SECOND_OF_TEXT)
    assert entry["statistics"]["overflow"] == "yes"
    assert entry["local"]["finite"] is False


def test_a_kernel_wrong_only_beyond_4096_keys_is_found_among_sampled_rows():
    model = models.llama(2, positions=8192, dtype=torch.bfloat16)
    kernel = faults.only_at("layers.1.self_attn", faults.wrong_beyond(4096))
    long = models.prompt(4500)
    found = verified(kernel, torch.bfloat16, model, long, judged=1)
    first = found.first_failure
    assert (first.site, first.kind) == ("model.layers.1.self_attn", "local")
    assert "wrong beyond" in first.words
    low, high = (int(w.replace(",", "")) for w in first.words.split() if w[0] == "4")
    assert low <= 4096 <= high
    assert high - low < 60
    rows = next(iter(found.local.sites.values())).rows
    assert rows.judged < rows.of, "the point is that rows were sampled"
    short = verified(kernel, torch.bfloat16, model, models.prompt(200), judged=1)
    assert short.agrees


@DTYPES
def test_a_backward_that_forgets_the_softmax_correction_is_named(dtype):
    model = models.llava(dtype)
    kernel = faults.only_with_scale(0.3, faults.forgets_the_correction)
    model.get_submodule(SECOND_OF_TEXT).scaling = 0.3
    found = verified(kernel, dtype, model, gradients=True)
    first = found.first_failure
    assert (first.kind, first.site, first.phase) == ("gradient", SECOND_OF_TEXT, "backward")
    assert "forgets the softmax correction" in first.words
    blamed = {f.site for f in found.failures if f.kind == "gradient"}
    assert blamed == {SECOND_OF_TEXT}
    assert verified(kernel, dtype, model).agrees, "the forward is right"


def test_the_baseline_may_be_the_wrong_one():
    with faults.planted(faults.only_at(SECOND_OF_TEXT, faults.two_heads_zeroed), "flash"):
        found = attnswitch.verify(models.llava(), models.inputs(), max_new_tokens=2)
    first = found.first_failure
    assert (first.who, first.request, first.site) == ("baseline", "flash", SECOND_OF_TEXT)


def one_percent_off(scale: float, dtype: torch.dtype):
    model = models.llama(2, logit_scale=scale, dtype=dtype)
    return verified(faults.scaled(1.01), dtype, model, models.prompt(200), judged=1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 3.0])
def test_one_percent_of_scale_is_told_in_bf16(scale):
    found = one_percent_off(scale, torch.bfloat16)
    first = found.first_failure
    assert (first.kind, first.site) == ("local", "model.layers.0.self_attn")
    assert "its scale is off: the factor on QKᵀ is" in first.words
    assert scale_told(found) < 0.01


def scale_told(found) -> float:
    """What the record says of the first site: from which error of scale on it can be told."""
    return found.to_json()["sites"][0]["statistics"]["scale_error_told"]


@pytest.mark.parametrize("scale", [0.1, 20.0])
def test_where_rounding_hides_one_percent_of_scale_it_says_from_where_on_it_is_told(scale):
    """Narrow logits hardly depend on the factor, and of wide ones hardly a row is not peaked."""
    told = scale_told(one_percent_off(scale, torch.bfloat16))
    assert told > 0.01
    model = models.llama(2, logit_scale=scale, dtype=torch.bfloat16)
    for factor, found in ((1.0 + told / 2, False), (1.0 + 2 * told, True)):
        wrong = faults.only_at("layers.0.self_attn", faults.scaled(factor))
        judged = verified(wrong, torch.bfloat16, model, models.prompt(200), judged=1)
        assert any(failure.kind == "local" for failure in judged.failures) is found
