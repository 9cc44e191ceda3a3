"""A model that was asked for FlashAttention keeps that path, with our functions at its end.

The older generations of transformers are in compat/test_packing.py, each with its own mechanisms.
"""

from __future__ import annotations

import sys
import types

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as TABLE

import attnswitch
from attnswitch.errors import UnavailableError
from tests.seams.kernels import BLOCKWISE, FLASH, kernels

NAME = "flash_attention_2"
LENGTHS = (5, 7)
TOKENS = torch.arange(1, 1 + sum(LENGTHS))[None]
RESTARTING = torch.cat([torch.arange(n) for n in LENGTHS])[None]
ENDS = torch.tensor([0, 5, 12], dtype=torch.int32)
KERNEL = {"standard": BLOCKWISE, "flash": FLASH}
BOTH = pytest.mark.parametrize("request_word", KERNEL)


def llama(name: str | None = NAME) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM._from_config(config, attn_implementation=name).eval()


@pytest.fixture(scope="module")
def apart() -> torch.Tensor:
    """The two sequences by themselves, by the model's eager code."""
    model = llama("eager")
    with torch.no_grad():
        return torch.cat([model(part).logits for part in TOKENS.split(LENGTHS, dim=1)], dim=1)


def own_function(module, query, key, value, *_, **__):
    """A project's own: packed rows, its lengths from elsewhere."""
    from flash_attn import flash_attn_varlen_func

    flat = (t.transpose(1, 2).squeeze(0) for t in (query, key, value))
    return flash_attn_varlen_func(*flat, ENDS, ENDS, 7, 7, causal=True)[None], None


@pytest.fixture
def registered():
    """The project's function, registered under transformers' name and under one of its own."""
    table = type(TABLE)._global_mapping
    before, table[NAME] = table[NAME], own_function
    table["packed_rows"] = own_function
    yield
    table[NAME] = before
    del table["packed_rows"]


def ran(model, **given) -> tuple[set[str], torch.Tensor]:
    with torch.no_grad():
        return kernels(lambda: model(TOKENS, **given)), model(TOKENS, **given).logits


def test_attention_across_the_sequences_would_be_seen(apart):
    with torch.no_grad():
        assert (llama("sdpa")(TOKENS).logits - apart).abs().max() > 1


@BOTH
def test_positions_that_start_again(apart, request_word):
    with attnswitch.use(request_word):
        model = llama()
        assert model.config._attn_implementation == NAME
        seen, logits = ran(model, position_ids=RESTARTING)
    assert seen == {KERNEL[request_word]}
    assert torch.allclose(logits, apart, atol=1e-4)


@BOTH
@pytest.mark.parametrize("name", [NAME, "packed_rows"])
def test_a_function_of_the_projects_own(apart, registered, request_word, name):
    with attnswitch.use(request_word):
        seen, logits = ran(llama(name))
    assert seen == {KERNEL[request_word]}
    assert torch.allclose(logits, apart, atol=1e-4)


@BOTH
def test_apply_keeps_the_projects_function_in_flash_attentions_place(
    apart, registered, request_word
):
    with attnswitch.use("math"):
        model = llama()
    with attnswitch.apply(model, request_word):
        seen, logits = ran(model)
    assert seen == {KERNEL[request_word]}
    assert torch.allclose(logits, apart, atol=1e-4)
    assert "flash_attn" not in sys.modules


def test_apply_says_that_a_function_under_another_name_does_not_run(registered):
    with attnswitch.use("math"):
        model = llama("packed_rows")
    with pytest.warns(UserWarning, match="'packed_rows' of the project's own to SDPA"):
        attnswitch.apply(model, "standard").undo()


@BOTH
def test_apply_keeps_sequences_apart_whose_lengths_are_given(apart, request_word):
    lengths = {"cu_seq_lens_q": ENDS, "cu_seq_lens_k": ENDS, "max_length_q": 7, "max_length_k": 7}
    model = llama(None)
    with attnswitch.apply(model, request_word):
        seen, logits = ran(model, **lengths)
    assert seen == {KERNEL[request_word]}
    assert torch.allclose(logits, apart, atol=1e-4)


@BOTH
def test_it_is_compiled_in_one_piece(request_word):
    tokens = TOKENS.repeat(2, 1)  # of a single row transformers asks whether it is packed
    with attnswitch.use(request_word), torch.no_grad():
        model = llama().bfloat16()  # in float32 transformers logs, which the compiler breaks at
        wanted = model(tokens, use_cache=False).logits
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(tokens, use_cache=False).logits, wanted)
        assert kernels(lambda: compiled(tokens, use_cache=False)) == {KERNEL[request_word]}


def test_after_the_request_the_model_says_what_it_needs():
    with attnswitch.use("standard"):
        model = llama()
    with pytest.raises(UnavailableError, match=r"no request is in force.*ATTNSWITCH=standard"):
        model(TOKENS)


def test_a_later_write_of_the_name_is_followed(apart):
    with attnswitch.use("standard"):
        model = llama(None)
        model.config._attn_implementation = NAME
        assert model.config._attn_implementation == NAME
        seen, logits = ran(model, position_ids=RESTARTING)
    assert seen == {BLOCKWISE}
    assert torch.allclose(logits, apart, atol=1e-4)


PROJECT = """
from transformers.utils import is_flash_attn_2_available
if is_flash_attn_2_available():
    from flash_attn import flash_attn_func
    from flash_attn.bert_padding import pad_input
else:
    pad_input = None

def attend(q):
    return flash_attn_func(q, q, q), pad_input

class Attention:
    def forward(self, q):
        return attend(q)
"""


def test_a_project_gets_the_names_that_it_could_not_import_and_none_back(monkeypatch):
    """Its modules ask transformers whether the package is there, and are told the truth: no."""
    project = types.ModuleType("a_project")
    monkeypatch.setitem(sys.modules, "a_project", project)
    exec(PROJECT, vars(project))
    assert project.pad_input is None
    assert not hasattr(project, "flash_attn_func")
    with attnswitch.use("standard"):
        llama(None)
        assert project.pad_input.__module__.startswith("attnswitch.")
        q = torch.randn(1, 3, 2, 8)
        assert kernels(project.Attention().forward, q) == {BLOCKWISE}
        assert not hasattr(project, "flash_attn_varlen_func"), "it uses no such name"
    assert project.pad_input is None
    with attnswitch.use("math"):
        llama(None)
        assert project.pad_input is not None
    assert project.pad_input is None
