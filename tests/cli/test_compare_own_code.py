"""A model with a part that attends by its own code alone, as Gemma 4's ears and SAM's tower do."""

from __future__ import annotations

import json
import re

import pytest
import torch
from PIL import Image
from torch import nn

from attnswitch.comparison.compare import compare
from attnswitch.errors import UnavailableError
from attnswitch.models.inputs import prepare_inputs
from attnswitch.models.load import load_model
from attnswitch.switch import as_request
from attnswitch.verification.verify import verify
from tests.models import checkpoints


class PooledAttention(nn.Module):
    """Softmax attention by hand: no request reaches it."""

    def forward(self, tokens_BTD: torch.Tensor) -> torch.Tensor:
        scores = tokens_BTD @ tokens_BTD.transpose(-2, -1) * tokens_BTD.shape[-1] ** -0.5
        return torch.softmax(scores, dim=-1) @ tokens_BTD


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = checkpoints.write_checkpoint(tmp_path_factory.mktemp("tiny") / "llava")
    found = load_model(str(folder))
    model = found.model.model
    model.multi_modal_projector = nn.Sequential(model.multi_modal_projector, PooledAttention())
    return found


def compared(loaded, baseline, candidate="standard"):
    requests = {"baseline": as_request(baseline, "a"), "candidate": as_request(candidate, "b")}
    return compare(
        loaded, [Image.new("RGB", (60, 60), "red")], "what is in this picture ?",
        **requests, max_new_tokens=3, rounds=1,
    )  # fmt: skip


def test_the_refusal_prints_a_policy_and_compare_takes_it(loaded):
    """FlashAttention everywhere else: judged there, and what was not judged is named."""
    with pytest.raises(UnavailableError, match=r"at model\.multi_modal_projector\.1,") as caught:
        compared(loaded, "flash")
    policy = json.loads(re.search(r"\{.*\}$", str(caught.value)).group())
    verdict = compared(loaded, policy)["verdict"]
    assert verdict["agrees"], verdict["explanation"]
    assert verdict["not_judged"] == ["model.multi_modal_projector.1"]
    assert "at 4 sites and in the logits" in verdict["explanation"]
    assert "the model's own code at model.multi_modal_projector.1" in verdict["explanation"]
    assert {s["site"] for s in verdict["sites"]}.isdisjoint(verdict["not_judged"])
    assert verdict["whole_model_precise"]


def test_verify_judges_the_others_and_names_it(loaded):
    inputs = prepare_inputs(loaded, [Image.new("RGB", (60, 60), "red")], "what is this ?")
    rule = {"when": {"site": "model.multi_modal_projector.1"}, "use": "auto"}
    found = verify(
        loaded.model, inputs, candidate="standard", baseline={"attn": "flash", "rules": [rule]},
        max_new_tokens=2, gradients=True,
    )  # fmt: skip
    assert found.agrees, found.explanation
    assert found.to_json()["not_judged"] == ["model.multi_modal_projector.1"]
    assert "at 4 sites, on the same inputs" in found.explanation
    assert "the model's own code at model.multi_modal_projector.1" in found.explanation


def test_a_model_that_casts_inside_is_judged_by_exact_attention(loaded, monkeypatch):
    """Inkling's router multiplies in float32 whatever comes, so that float64 meets float32."""
    layer = loaded.model.model.language_model.layers[0].mlp
    cast = layer.forward
    monkeypatch.setattr(layer, "forward", lambda x: cast(x.float()))
    record = compared(loaded, "standard")
    assert record["verdict"]["agrees"], record["verdict"]["explanation"]
    assert not record["verdict"]["whole_model_precise"]
    assert "in the reference attention alone is exact" in record["verdict"]["explanation"]
