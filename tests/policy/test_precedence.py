"""Where a setting came from and what wins; contradictions name both places."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from attnswitch import guard
from attnswitch.errors import ForbiddenError, RequestError
from attnswitch.switch import as_request, put_in_force, withdraw
from tests.core import tiny_llava
from tests.core.observer import BLOCKWISE, FLASH, MATH, attention_operators

MIXED = {"attn": "flash", "rules": [{"when": {"role": "vision_tower"}, "use": "math"}]}


@pytest.fixture(scope="module")
def model():
    return tiny_llava.build()


class environment:
    """What ATTNSWITCH asks for, as arming puts it in force."""

    def __init__(self, word, override=False):
        self.request = as_request(word, "ATTNSWITCH", origin="environment", override=override)

    def __enter__(self):
        self.choice = put_in_force(self.request)

    def __exit__(self, *_):
        withdraw(self.choice)


def ran(model):
    with torch.no_grad():
        return set(attention_operators(lambda: model(**tiny_llava.inputs())))


@pytest.mark.parametrize(
    ("word", "asked", "message"),
    [
        ("flash", "standard", "ATTNSWITCH ('flash') asks for FlashAttention, {} ('standard') bars"),
        ("standard", "flash", "{} ('flash') asks for FlashAttention, ATTNSWITCH ('standard') bars"),
        ("no-flash", "flash", "{} ('flash') asks for FlashAttention, ATTNSWITCH ('no-flash') bars"),
        ("flash", MIXED, "ATTNSWITCH ('flash') asks for FlashAttention, {} ('policy') bars it"),
    ],
)
def test_a_contradiction_names_both_places(model, word, asked, message):
    with environment(word):
        with pytest.raises(RequestError) as caught:
            attnswitch.apply(model, asked)
        assert message.format("apply()") in str(caught.value)
        assert "change one of them, or mark the one that is to win as override" in str(caught.value)
        with pytest.raises(RequestError) as caught:
            attnswitch.use(asked).__enter__()
        assert message.format("use()") in str(caught.value)
    assert not guard.is_up()


def test_a_policy_file_against_the_environment_names_its_line(model, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("# comment\nuse_flash_attention: false\n")
    with environment("flash"), pytest.raises(RequestError) as caught:
        attnswitch.apply(model, str(path))
    assert f"apply() ({path}:2) ('standard') bars it" in str(caught.value)


def test_the_nearer_wins_where_both_can_be_right(model):
    with environment("standard"):
        assert ran(model) == {BLOCKWISE}
        with attnswitch.use("math"):
            assert ran(model) == {MATH}
            with attnswitch.apply(model, "blockwise"):
                assert ran(model) == {BLOCKWISE}
    with environment("auto"), attnswitch.apply(model, "math"):
        assert ran(model) == {MATH}


def test_code_marked_as_override_wins(model, tmp_path):
    with environment("standard"):
        with attnswitch.apply(model, "flash", override=True):
            assert ran(model) == {FLASH}
        with pytest.raises(ForbiddenError), torch.no_grad():
            q = torch.randn(1, 1, 4, 8)
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)
        with attnswitch.use("flash", override=True):
            assert ran(model) == {FLASH}
        assert guard.is_up()
        assert ran(model) == {BLOCKWISE}
    path = tmp_path / "policy.yaml"
    path.write_text("attn: standard\noverride: true\n")
    with environment("flash"), attnswitch.apply(model, str(path)):
        assert ran(model) == {BLOCKWISE}


def test_an_overriding_environment_wins_and_says_so(model):
    with environment("standard", override=True):
        said = "use\\(\\) asks for 'flash', which is overridden by ATTNSWITCH asking for 'standard'"
        with pytest.warns(UserWarning, match=said), attnswitch.use("flash"):
            assert ran(model) == {BLOCKWISE}
        with pytest.warns(UserWarning, match="apply\\(\\) asks for 'flash', which is overridden"):
            plan = attnswitch.apply(model, "flash")
        with plan:
            assert set(plan.backends().values()) == {"blockwise"}
            assert ran(model) == {BLOCKWISE}


def test_two_overrides_are_an_error(model):
    with environment("standard", override=True), pytest.raises(RequestError) as caught:
        attnswitch.apply(model, "flash", override=True)
    assert "bars it; both are marked as override: change one of them" in str(caught.value)


def test_inside_one_place_the_innermost_wins(model):
    with attnswitch.use("flash"), attnswitch.use("standard"):
        assert ran(model) == {BLOCKWISE}


def test_the_checkpoint_against_the_environment(model):
    asked = as_request({"use_flash_attention": False}, "config.json of m", origin="checkpoint")
    with (
        environment("flash"),
        pytest.raises(RequestError, match=r"config.json of m \('standard'\)"),
    ):
        attnswitch.apply(model, asked)
