"""The switch on a tiny LLaVA, watched by torch's profiler, which is no part of it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import attnswitch
from attnswitch import guard, intent
from attnswitch.backends import replace_backend
from attnswitch.errors import ForbiddenError, PolicyError, RequestError, UnavailableError
from tests.core import tiny_llava
from tests.core.observer import BLOCKWISE, FLASH, MATH, attention_operators

SITES = 5  # 3 in the vision tower, 2 in the language model


@pytest.fixture(scope="module")
def model():
    return tiny_llava.build()


def run(model, inputs=None):
    return lambda: model(**(inputs or tiny_llava.inputs())).logits


def hooks_of(model):
    """Every forward hook on every module; transformers has some of its own."""
    return [
        (list(module._forward_hooks.values()), list(module._forward_pre_hooks.values()))
        for module in model.modules()
    ]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize(
    ("request_word", "operator"),
    [("standard", BLOCKWISE), ("flash", FLASH), ("math", MATH), ("blockwise", BLOCKWISE)],
)
@pytest.mark.parametrize("how", ["apply", "use"])
def test_only_what_was_asked_for_runs(model, mode, request_word, operator, how):
    switch = attnswitch.apply(model, request_word) if how == "apply" else None
    with mode():
        if switch:
            with switch:
                seen = attention_operators(run(model))
        else:
            with attnswitch.use(request_word):
                seen = attention_operators(run(model))
    assert seen == {operator: SITES}


def test_both_towers_obey_during_generate(model):
    def answer():
        model.generate(**tiny_llava.inputs(), max_new_tokens=3, do_sample=False)

    with attnswitch.apply(model, "standard"):
        assert attention_operators(answer) == {BLOCKWISE: 3 + 2 * 3}
    with attnswitch.apply(model, "flash"):
        assert attention_operators(answer) == {FLASH: 3 + 2 * 3}


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_numbers_stay_the_same(model, side):
    inputs = tiny_llava.padded_inputs(side)
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        bare = run(model, inputs)()[real]
        for request in ("standard", "flash", "math", "eager", "reference"):
            with attnswitch.apply(model, request):
                torch.testing.assert_close(run(model, inputs)()[real], bare, atol=2e-6, rtol=1e-5)


def test_undo_leaves_nothing_behind():
    model = tiny_llava.build()
    before = {
        name: getattr(module, "config", None) and module.config._attn_implementation
        for name, module in model.named_modules()
    }
    bare = attention_operators(run(model))
    hooks = hooks_of(model)
    for request in ("standard", "eager", "flash"):
        plan = attnswitch.apply(model, request)
        assert any(intent.MODULE_ATTRIBUTE in module.__dict__ for module in model.modules())
        plan.undo()
        plan.undo()
    after = {
        name: getattr(module, "config", None) and module.config._attn_implementation
        for name, module in model.named_modules()
    }
    assert after == before
    assert attention_operators(run(model)) == bare == {FLASH: SITES}
    assert hooks_of(model) == hooks
    assert not any(intent.MODULE_ATTRIBUTE in module.__dict__ for module in model.modules())


def test_other_models_are_left_alone(model):
    other = tiny_llava.build()
    with attnswitch.apply(model, "standard"):
        assert attention_operators(run(other)) == {FLASH: SITES}
        assert attention_operators(run(model)) == {BLOCKWISE: SITES}


def test_the_newest_plan_wins_and_undoing_restores_the_older(model):
    outer = attnswitch.apply(model, "math")
    inner = attnswitch.apply(model, "standard")
    assert attention_operators(run(model)) == {BLOCKWISE: SITES}
    inner.undo()
    assert attention_operators(run(model)) == {MATH: SITES}
    outer.undo()


def test_use_nests_and_restores_after_an_exception(model):
    with attnswitch.use("math"):
        with pytest.raises(ZeroDivisionError), attnswitch.use("standard"):
            assert attention_operators(run(model)) == {BLOCKWISE: SITES}
            raise ZeroDivisionError
        assert attention_operators(run(model)) == {MATH: SITES}
    assert attention_operators(run(model)) == {FLASH: SITES}


def test_use_is_a_decorator(model):
    @attnswitch.use("math")
    def decorated():
        return attention_operators(run(model))

    assert decorated() == {MATH: SITES} == decorated()
    assert attention_operators(run(model)) == {FLASH: SITES}


def test_use_covers_other_threads(model):
    from concurrent.futures import ThreadPoolExecutor

    # torch's profiler follows one thread, so the thread itself profiles.
    with attnswitch.use("standard"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(attention_operators, run(model)).result() == {BLOCKWISE: SITES}


@pytest.mark.parametrize(
    "asked", ["eager", "flash_attention_2", "kernels-community/flash-attn2", "sdpa", None]
)
def test_models_built_under_a_request_obey_it_whatever_their_code_asks(asked):
    options = {"attn_implementation": asked} if asked else {}
    with attnswitch.use("standard"):
        model = tiny_llava.build(**options)
        assert attention_operators(run(model)) == {BLOCKWISE: SITES}
    with attnswitch.use("flash"):
        model = tiny_llava.build(**options)
        assert attention_operators(run(model)) == {FLASH: SITES}


def test_an_eager_model_is_turned_into_what_is_asked(model):
    eager = tiny_llava.build(attn_implementation="eager")
    assert attention_operators(run(eager)) == {}
    with attnswitch.apply(eager, "flash"):
        assert attention_operators(run(eager)) == {FLASH: SITES}
    with attnswitch.apply(eager, "standard"):
        assert attention_operators(run(eager)) == {BLOCKWISE: SITES}
    assert attention_operators(run(eager)) == {}


def test_policy_file_and_mapping(model, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("use_flash_attention: false\n")
    for request in (str(policy), {"use_flash_attention": False}, {"attn": "standard"}):
        with attnswitch.apply(model, request):
            assert attention_operators(run(model)) == {BLOCKWISE: SITES}
    policy.write_text("use_flash_attention: true\n")
    with attnswitch.use(str(policy)):
        assert attention_operators(run(model)) == {FLASH: SITES}


def test_the_plan_says_what_and_why(model):
    with attnswitch.apply(model, "standard") as plan:
        assert set(plan.backends().values()) == {"blockwise"}
        choice = plan.choices["model.language_model.layers.1.self_attn"]
        assert choice.source == "apply()"
        assert choice.site.role == "language_model"
        assert plan.choices["model.vision_tower.encoder.layers.0.self_attn"].site.role == (
            "vision_tower"
        )
        assert [r.backend for r in choice.refused] == ["flash_attn", "flash", "efficient"]


def test_a_request_that_cannot_be_met_leaves_the_model_as_it_was(model):
    for request, error in (("efficient", UnavailableError), ("falsh", RequestError)):
        with pytest.raises(error):
            attnswitch.apply(model, request)
    with pytest.raises(PolicyError):
        attnswitch.apply(model, {"attn": "math", "use_flash_attention": True})
    assert attention_operators(run(model)) == {FLASH: SITES}


def test_flash_for_a_model_while_it_is_barred_for_the_process_names_both(model):
    with (
        attnswitch.use("standard"),
        pytest.raises(RequestError, match=r"apply\(\) asks for 'flash', but use\(\) asks for"),
    ):
        attnswitch.apply(model, "flash")


def test_a_model_without_attention_is_an_error():
    with pytest.raises(attnswitch.AttnSwitchError, match="no attention module"):
        attnswitch.apply(torch.nn.Linear(2, 2), "standard")


def test_a_call_the_kernel_cannot_take_is_an_error_not_a_fallback(model):
    q = torch.randn(1, 2, 4, 8)
    with attnswitch.use("flash"):
        with pytest.raises(UnavailableError, match="it has no dropout on a CPU"):
            torch.nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=0.1)
        with pytest.raises(UnavailableError, match="2 query heads, 3 key heads"):
            k = torch.randn(1, 3, 4, 8)
            torch.nn.functional.scaled_dot_product_attention(q, k, k)
    with attnswitch.use("eager"), pytest.raises(UnavailableError, match="has no attention code"):
        torch.nn.functional.scaled_dot_product_attention(q, q, q)


def test_a_switched_model_can_be_copied_and_pickled(model):
    with attnswitch.apply(model, "math"):
        twin = copy.deepcopy(model.model.language_model.layers[0].self_attn)
        again = pickle.loads(pickle.dumps(intent.of_module(twin)))
        assert again.backend == "math"


def test_training_through_the_switch(model):
    def loss_and_gradient(request):
        with attnswitch.apply(model, request):
            model.zero_grad()
            inputs = tiny_llava.inputs()
            loss = model(**inputs, labels=inputs["input_ids"]).loss
            loss.backward()
            grad = model.model.language_model.layers[0].self_attn.q_proj.weight.grad.clone()
            return loss.item(), grad

    loss, gradient = loss_and_gradient("flash")
    for request in ("standard", "math", "eager"):
        other_loss, other_gradient = loss_and_gradient(request)
        assert other_loss == pytest.approx(loss, abs=1e-6)
        torch.testing.assert_close(other_gradient, gradient, atol=1e-7, rtol=1e-4)
    model.zero_grad()


def test_a_backend_that_cheats_runs_where_it_is_planted(model):
    """The planted fault really reaches every site: other tests rely on it."""
    calls = []

    def cheat(query, key, value, *args, **kwargs):
        calls.append(query.shape)
        return torch.zeros_like(query)

    replace_backend("blockwise", cheat)
    with attnswitch.apply(model, "standard"), torch.no_grad():
        run(model)()
    assert len(calls) == SITES


def test_guard_message_names_operator_request_and_line(model):
    q = torch.randn(1, 1, 4, 8)
    with attnswitch.use("standard"), pytest.raises(ForbiddenError) as caught:
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)
    message = str(caught.value)
    assert FLASH in message
    assert "use() asking for 'standard'" in message
    assert f"{__file__}:" in message
    assert guard.tripped[-1].operator == FLASH


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_guard_holds_in_every_gradient_mode_and_ends_with_the_request(mode):
    q = torch.randn(1, 1, 4, 8, requires_grad=True)
    call = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with mode():
        before = call(q, q, q)[0]
        with attnswitch.use("no-flash"), pytest.raises(ForbiddenError):
            call(q, q, q)
        torch.testing.assert_close(call(q, q, q)[0], before)


def test_guard_of_one_model_bars_only_while_that_model_runs(model):
    q = torch.randn(1, 1, 4, 8)
    call = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def sneak(*_):
        call(q, q, q)

    layer = model.model.vision_tower.encoder.layers[1].mlp
    handle = layer.register_forward_hook(sneak)
    try:
        with attnswitch.apply(model, "standard"):
            call(q, q, q)
            with pytest.raises(ForbiddenError), torch.no_grad():
                run(model)()
            call(q, q, q)
            assert not guard.is_up()
    finally:
        handle.remove()
    with torch.no_grad():
        run(model)()


def test_multihead_attention_that_computes_by_hand_is_never_called_flash():
    layer = torch.nn.Sequential(torch.nn.MultiheadAttention(16, 2, batch_first=True))
    x = torch.randn(1, 5, 16)
    with attnswitch.apply(layer, "flash"):
        with pytest.raises(UnavailableError, match="computes them by hand"):
            layer[0](x, x, x)
        assert attention_operators(lambda: layer[0](x, x, x, need_weights=False)) == {FLASH: 1}
    with attnswitch.apply(layer, "standard"):
        assert attention_operators(lambda: layer[0](x, x, x)) == {}
        seen = attention_operators(lambda: layer[0](x, x, x, need_weights=False))
        assert seen == {BLOCKWISE: 1}
