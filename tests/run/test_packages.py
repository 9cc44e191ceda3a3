"""Code that calls flash_attn itself, in no transformers model: its receipts."""

from __future__ import annotations

import pytest

from tests.run.launching import FLASH, receipts, run, script

PROGRAM = """
import torch
from flash_attn import flash_attn_func, flash_attn_varlen_func

class MyAttention(torch.nn.Module):
    def forward(self, q):
        return flash_attn_func(q, q, q, causal=True)

class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = MyAttention()
    def forward(self, q):
        return self.inner(q)

tower, q = Tower(), torch.randn(1, 8, 2, 16, requires_grad=True)
for _ in range(3):
    tower(q).sum().backward()
ends = torch.tensor([0, 3, 8], dtype=torch.int32)
with torch.no_grad():
    flash_attn_varlen_func(q[0], q[0], q[0], ends, ends, 5, 5)
    flash_attn_func(q[:, :1], q, q, causal=True)
"""
RAN = {
    "standard": ("attnswitch::blockwise", "guarded"),
    "flash": (FLASH, "op"),
    "math": ("aten::_scaled_dot_product_attention_math", "guarded"),
}


@pytest.mark.parametrize("word", RAN)
def test_calls_of_the_package_are_in_the_receipt(tmp_path, word):
    done = run(tmp_path, "--attn", word, "--receipt", "r.json", script(tmp_path, PROGRAM))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    operator, evidence = RAN[word]
    found = {
        (one["site"], one["phase"]): (one["executed"], one["evidence"], one["calls"])
        for one in receipts(tmp_path / "r.json")
    }
    # Backends without packing compute one sequence after the other.
    packed = 1 if word == "standard" else 2
    assert found.pop(("inner", "prefill")) == ([operator], evidence, 3)
    assert found.pop((None, "prefill")) == ([operator], evidence, packed)
    assert found.pop((None, "decode")) == ([operator], evidence, 1)
    backward = (
        {} if word == "math" else {(None, "backward"): ([f"{operator}_backward"], evidence, 3)}
    )
    assert found == backward


MODEL = """
import torch
from transformers import LlamaConfig, LlamaForCausalLM
config = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, vocab_size=100,
                     num_attention_heads=4)
model = LlamaForCausalLM._from_config(config, attn_implementation="flash_attention_2").eval()
ids, mask = torch.randint(1, 99, (3, 12)), torch.ones(3, 12, dtype=torch.long)
mask[0, :4] = 0
with torch.no_grad():
    model(ids, attention_mask=mask)
    model(ids)
"""


def test_sequences_of_one_call_are_no_calls_that_nobody_noticed(tmp_path):
    """Under `flash` a padded batch runs the kernel once a sequence; it is one call of its site."""
    done = run(tmp_path, "--attn", "flash", "--receipt", "r.json", script(tmp_path, MODEL))
    assert done.returncode == 0, done.stderr
    (one,) = receipts(tmp_path / "r.json")
    assert (one["site"], one["executed"]) == ("model.layers.0.self_attn", [FLASH])
    assert one["calls"] == 2
