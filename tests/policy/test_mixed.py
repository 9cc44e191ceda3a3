"""Rules on a tiny LLaVA: what runs where is what was planned, and the rule is named."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch

import attnswitch
from attnswitch import guard, intent
from attnswitch.errors import RequestError, UnavailableError
from attnswitch.types import RuledChoice
from tests.core import tiny_llava
from tests.core.observer import BLOCKWISE, FLASH, MATH, attention_operators

VISION, LANGUAGE = 3, 2  # attention modules in each


@pytest.fixture(scope="module")
def model():
    return tiny_llava.build()


def logits(model, inputs=None):
    with torch.no_grad():
        return model(**(inputs or tiny_llava.inputs())).logits


def decode(model, tokens, inputs=None):
    return model.generate(
        **(inputs or tiny_llava.inputs()), max_new_tokens=tokens, min_new_tokens=tokens,
        do_sample=False,
    )  # fmt: skip


def rules(*given, attn="standard"):
    return {"attn": attn, "rules": [{"when": when, "use": use} for when, use in given]}


BY_ROLE = rules(({"role": "vision_tower"}, "math"), ({"role": "language_model"}, "flash"))
BY_LAYER = rules(({"role": "language_model", "layers": "0"}, "math"), attn="flash")
BY_LENGTH = rules(({"kv_length": ">=12", "role": "language_model"}, "math"), attn="flash")
BY_PADDING = rules(({"mask": "padding"}, "math"), attn="flash")
BY_PHASE = rules(({"phase": "decode"}, "math"), attn="flash")


@pytest.mark.parametrize("how", ["apply", "use"])
@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        (BY_ROLE, {MATH: VISION, FLASH: LANGUAGE}),
        (BY_LAYER, {FLASH: VISION + 1, MATH: 1}),
        (BY_LENGTH, {FLASH: VISION + LANGUAGE}),
        (rules(({"site": "*vision_tower*"}, "math"), attn="flash"), {MATH: 3, FLASH: 2}),
        (rules(({"training": True}, "math"), attn="flash"), {FLASH: 5}),
        (rules(({"training": False}, "math"), attn="flash"), {MATH: 5}),
        (rules(({"batch": ">1"}, "math"), attn="flash"), {FLASH: 5}),
        (rules(({"dtype": "float32"}, "math"), attn="flash"), {MATH: 5}),
        (rules(({"device": "cuda"}, "flash_attn")), {BLOCKWISE: 5}),
        (rules(({"head_dim": 8}, "math")), {MATH: 3, BLOCKWISE: 2}),
        (rules(({"packages": {"torch": ">=2.0"}}, "math")), {MATH: 5}),
        (rules(({"packages": {"nowhere-to-be-found": "present"}}, "math")), {BLOCKWISE: 5}),
        (rules(({"mask": "causal"}, "math"), attn="flash"), {MATH: 2, FLASH: 3}),
    ],
)
def test_each_condition_decides(model, how, policy, seen):
    if how == "apply":
        with attnswitch.apply(model, policy):
            assert attention_operators(lambda: logits(model)) == seen
    else:
        with attnswitch.use(policy):
            assert attention_operators(lambda: logits(model)) == seen


def test_an_environment_variable_decides(model, monkeypatch):
    policy = rules(({"environment": {"ATTNSWITCH_TEST_MODE": "exact*"}}, "math"))
    with attnswitch.apply(model, policy) as plan:
        assert set(plan.backends().values()) == {"blockwise"}
    monkeypatch.setenv("ATTNSWITCH_TEST_MODE", "exactly")
    with attnswitch.apply(model, policy) as plan:
        assert set(plan.backends().values()) == {"math"}


def test_length_is_looked_at_in_every_call(model):
    """8 tokens are prefilled; the keys reach 12 with the fifth token decoded."""
    with attnswitch.apply(model, BY_LENGTH):
        seen = attention_operators(lambda: decode(model, 7))
    # 6 decoding steps, with 9 to 14 keys
    assert seen == {FLASH: VISION + LANGUAGE + 3 * LANGUAGE, MATH: 3 * LANGUAGE}


def test_padding_is_looked_at_in_every_call(model):
    with attnswitch.apply(model, BY_PADDING):
        assert attention_operators(lambda: logits(model)) == {FLASH: 5}
        padded = tiny_llava.padded_inputs("left")
        assert attention_operators(lambda: logits(model, padded)) == {FLASH: 3, MATH: 2}
        padded = tiny_llava.padded_inputs("right")
        assert attention_operators(lambda: logits(model, padded)) == {FLASH: 3, MATH: 2}


def test_receipts_are_as_planned_and_name_the_rule(model, tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(BY_LENGTH, indent=1))
    with attnswitch.apply(model, str(path)), attnswitch.trace(model) as t:
        decode(model, 7)
    by_backend = {}
    for receipt in t.receipts:
        assert receipt.backend == receipt.planned, receipt
        assert receipt.executed
        if receipt.role == "language_model":
            key = (receipt.phase, receipt.backend)
            by_backend[key] = by_backend.get(key, 0) + receipt.calls
    assert by_backend == {("prefill", "flash"): 2, ("decode", "flash"): 6, ("decode", "math"): 6}
    ruled = [r for r in t.receipts if r.backend == "math"]
    line = 1 + path.read_text().splitlines().index("  {")
    assert {r.source for r in ruled} == {f"apply() ({path}:{line})"}
    assert all("kv_length: >=12" in r.rule for r in ruled)
    assert {r.source for r in t.receipts if r.backend == "flash"} == {f"apply() ({path}:2)"}


def test_receipts_under_use(model):
    with attnswitch.use(BY_ROLE), attnswitch.trace(model) as t:
        decode(model, 3)
    assert {(r.role, r.planned, r.backend) for r in t.receipts} == {
        ("vision_tower", "math", "math"), ("language_model", "flash", "flash"),
    }  # fmt: skip


def test_standard_sites_of_a_mixed_plan_are_guarded(model):
    with attnswitch.apply(model, BY_ROLE), attnswitch.trace(model) as t:
        logits(model)
    evidence = {r.role: r.evidence for r in t.receipts}
    assert evidence == {"vision_tower": "guarded", "language_model": "op"}


EAGER = [
    rules(({"layers": "0"}, "eager"), attn="flash"),
    rules(({"role": "vision_tower"}, "flash"), attn="eager"),
    rules(({"mask": "padding"}, "eager")),
    rules(({"phase": "decode"}, "eager"), attn="math"),
]


@pytest.mark.parametrize("policy", EAGER)
@pytest.mark.parametrize("side", ["left", "right"])
def test_eager_layers_get_masks_of_their_own(model, policy, side):
    """One mask serves a decoder's layers; eager code would attend to the future with SDPA's."""
    padded = tiny_llava.padded_inputs(side)
    for inputs, real in ((tiny_llava.inputs(), None), (padded, padded["attention_mask"].bool())):
        with attnswitch.apply(model, "reference"):
            expected = logits(model, inputs)
        with attnswitch.apply(model, policy):
            found = logits(model, inputs)
        if real is not None:
            expected, found = expected[real], found[real]
        assert torch.allclose(expected, found, atol=1e-5)


def test_without_the_mask_it_would_attend_to_the_future(model, monkeypatch):
    """The check above can fail: a layer that gets no mask of its own is found."""
    from attnswitch.seams import own_eager

    attend = own_eager.attend
    monkeypatch.setattr(
        own_eager, "attend",
        lambda m, q, k, v, mask, d, s, causal, **kw: attend(m, q, k, v, mask, d, s, False, **kw),
    )  # fmt: skip
    with attnswitch.apply(model, "reference"):
        expected = logits(model)
    with attnswitch.apply(model, EAGER[0]):
        assert not torch.allclose(expected, logits(model), atol=1e-5)


def test_auto_among_rules_keeps_what_the_project_chose():
    model = tiny_llava.build(attn_implementation="eager")
    policy = rules(({"layers": "0", "role": "language_model"}, "math"), attn="auto")
    expected = logits(model)
    with attnswitch.apply(model, policy):
        # SDPA's name for the sake of one layer, and no SDPA kernel at the others.
        assert attention_operators(lambda: logits(model)) == {MATH: 1}
        assert torch.allclose(expected, logits(model), atol=1e-5)
    assert model.config.text_config._attn_implementation == "eager"


def test_auto_beside_rules_is_refused_where_its_masks_do_not_fit():
    model = tiny_llava.build()
    for config in (model.config, model.config.text_config):
        config._attn_implementation_internal = "flash_attention_2"
    policy = rules(({"layers": "0", "role": "language_model"}, "math"), attn="auto")
    with pytest.raises(RequestError) as caught:
        attnswitch.apply(model, policy)
    assert str(caught.value) == (
        "apply() leaves model.language_model.layers.1.self_attn as it is, which is "
        "'flash_attention_2', but other layers that share its masks run something else, and their "
        "masks do not fit it; ask for a backend there"
    )
    assert intent.of_module(model.model.language_model.layers[0].self_attn) is None


def test_a_rule_that_cannot_be_met_is_an_error_before_anything_runs(model):
    policy = rules(({"kv_length": ">4096"}, "flash_attn"))
    with pytest.raises(UnavailableError, match=r"apply\(\), rule 1 asks for 'flash_attn' at model"):
        attnswitch.apply(model, policy)
    with pytest.raises(UnavailableError, match=r"use\(\), rule 1 asks for 'flash_attn'"):
        attnswitch.use(policy).__enter__()


def test_what_cannot_be_told_is_an_error_not_a_guess():
    q = torch.randn(1, 2, 4, 8)
    attend = torch.nn.functional.scaled_dot_product_attention
    with attnswitch.use(BY_ROLE), pytest.raises(UnavailableError) as caught:
        attend(q, q, q)
    assert str(caught.value) == (
        "use(), rule 1: the condition `role: vision_tower` cannot be told for this call: no "
        "attention module is running around it, or it was compiled. Switch the model with "
        "attnswitch.apply(model, policy), which knows its sites"
    )
    with attnswitch.use(rules(({"q_length": ">3"}, "math"))):
        assert attention_operators(lambda: attend(q, q, q)) == {MATH: 1}


def test_static_rules_leave_plain_choices(model):
    with attnswitch.apply(model, BY_ROLE) as plan:
        assert {type(choice) for choice in plan.choices.values()}.isdisjoint({RuledChoice})
    with attnswitch.apply(model, BY_LENGTH) as plan:
        kinds = {c.site.role: type(c) is RuledChoice for c in plan.choices.values()}
        assert kinds == {"vision_tower": False, "language_model": True}


def test_a_model_that_moves_to_another_dtype_is_decided_anew(model):
    policy = rules(({"dtype": "bfloat16"}, "math"), attn="flash")
    twin = copy.deepcopy(model)
    with attnswitch.apply(twin, policy):
        assert attention_operators(lambda: logits(twin)) == {FLASH: 5}
        twin.to(torch.bfloat16)
        inputs = tiny_llava.inputs()
        inputs["pixel_values"] = inputs["pixel_values"].to(torch.bfloat16)
        assert attention_operators(lambda: logits(twin, inputs)) == {MATH: 5}


def test_autocast_counts_as_its_dtype(model):
    policy = rules(({"dtype": "bf16"}, "math"), attn="flash")
    with attnswitch.apply(model, policy), torch.autocast("cpu", torch.bfloat16):
        assert attention_operators(lambda: logits(model)) == {MATH: 5}


def test_training_under_rules(model):
    """Also recomputed under gradient checkpointing, by both kinds."""
    policy = rules(({"training": True, "role": "language_model"}, "math"), attn="flash")
    twin = copy.deepcopy(model).train()
    inputs = tiny_llava.inputs()
    for reentrant in (False, True):
        twin.gradient_checkpointing_enable({"use_reentrant": reentrant})
        with attnswitch.apply(twin, policy):
            seen = attention_operators(
                lambda: twin(**inputs, labels=inputs["input_ids"]).loss.backward()
            )
        assert seen[MATH] >= 2 * LANGUAGE


def test_compiled_code_obeys_rules(model):
    """Lengths become guards of the compiled code: it is compiled anew when a rule turns."""
    layer = copy.deepcopy(model).model.language_model
    x = torch.randn(1, 6, 64)
    with attnswitch.apply(layer, rules(({"q_length": ">7"}, "standard"), attn="flash")):
        compiled = torch.compile(layer, backend="aot_eager", dynamic=True)
        longer, seen = torch.randn(1, 9, 64), []
        with torch.no_grad():
            for one in (x, longer, x, longer):
                compiled(inputs_embeds=one, use_cache=False)  # compiles, the first two times
                seen.append(
                    attention_operators(
                        lambda one=one: compiled(inputs_embeds=one, use_cache=False)
                    )
                )
    assert seen == [{FLASH: 2}, {BLOCKWISE: 2}] * 2


def test_a_mask_is_not_read_in_compiled_code(model):
    layer = copy.deepcopy(model).model.language_model
    mask = torch.tensor([[0, 1, 1, 1]])
    with attnswitch.apply(layer, BY_PADDING):
        compiled = torch.compile(layer, backend="aot_eager")
        with torch.no_grad(), pytest.raises(Exception, match="cannot be told in compiled code"):
            compiled(inputs_embeds=torch.randn(1, 4, 64), attention_mask=mask, use_cache=False)


def test_a_model_under_rules_can_be_copied_and_pickled(model):
    with attnswitch.apply(model, BY_LENGTH):
        attention = model.model.language_model.layers[0].self_attn
        twin = copy.deepcopy(attention)
        again = pickle.loads(pickle.dumps(intent.of_module(twin)))
    assert isinstance(again, RuledChoice)
    assert [c.backend for c in again.outcomes] == ["math", "flash"]


def test_a_pattern_that_matches_no_site_is_said(model):
    policy = rules(({"site": "model.vision_towr.*"}, "math"))
    with pytest.warns(UserWarning, match=r"rule 1: no site of this model matches `site: model.vis"):
        attnswitch.apply(model, policy).undo()


def test_the_guard_stands_under_rules_that_all_bar_flash(model):
    policy = rules(({"kv_length": ">12"}, "math"))
    with attnswitch.use(policy):
        assert guard.is_up()
    with attnswitch.use(BY_LENGTH):
        assert not guard.is_up()
