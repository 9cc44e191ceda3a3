"""Asked for FlashAttention, code of its own runs something else: that is said and fails the run."""

from __future__ import annotations

import json

from tests.run.launching import run, script, start

PROGRAM = """
import torch

class HandMadeAttention(torch.nn.Module):
    def forward(self, q):
        return torch.softmax(q @ q.transpose(-2, -1), dim=-1) @ q

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([HandMadeAttention(), HandMadeAttention()])
    def forward(self, q):
        for layer in self.layers:
            q = layer(q)
        return q

from transformers import LlamaConfig, LlamaForCausalLM
class Projects(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.vision_tower = Model()
    def forward(self, ids):
        self.vision_tower(torch.randn(1, 2, 4, 8))
        return super().forward(ids)

config = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, vocab_size=100,
                     num_attention_heads=4)
model = Projects(config).eval()
with torch.no_grad():
    model(torch.tensor([[1, 2, 3]]))
"""


def test_it_is_said_and_fails_the_run(tmp_path):
    name = script(tmp_path, PROGRAM)
    done = run(tmp_path, "--attn", "flash", "--receipt", "r.json", name)
    assert done.returncode == 125, done.stderr
    assert done.stderr.count("not everything obeyed: vision_tower.layers.* ran eager") == 1
    assert "where ATTNSWITCH asks for 'flash'" in done.stderr
    told = json.loads((tmp_path / "r.json").read_text())["process"]["disobeyed"]
    assert len(told) == 1, "the two sites are one kind, and the language model obeyed"


def test_without_the_wrapper_it_is_said(tmp_path):
    import sys

    variables = {"ATTNSWITCH": "flash", "ATTNSWITCH_RECEIPT": "r.json"}
    done = start([sys.executable, script(tmp_path, PROGRAM)], tmp_path, variables)
    assert done.returncode == 0, done.stderr
    assert "attnswitch: vision_tower.layers.* ran eager" in done.stderr


def test_under_standard_own_arithmetic_is_what_was_asked(tmp_path):
    name = script(tmp_path, PROGRAM)
    done = run(tmp_path, "--attn", "standard", "--receipt", "r.json", name)
    assert (done.returncode, done.stderr) == (0, "")
