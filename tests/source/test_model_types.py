"""Kernels that a model brings only where its configuration names one type of model."""

from __future__ import annotations

import pytest

from attnswitch.source import scan

KERNELS = """\
from flash_attn import flash_attn_func


class Layer:
    def forward(self, q, k, v):
        return flash_attn_func(q, k, v)


class Quick:
    def __init__(self, config):
        self.layer = Layer()

    def forward(self, q, k, v):
        return self.layer(q, k, v)
"""
MODEL = """\
from transformers import LlamaForCausalLM, PreTrainedModel
from quick import Quick


class Both(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        {test}:
            self.language_model = Quick(config.text_config)
        else:
            self.language_model = {other}


if __name__ == "__main__":
    Both.from_pretrained("x")
"""
BY_TYPE = 'if config.text_config.model_type == "quick"'


@pytest.mark.parametrize(
    ("test", "other", "flash"),
    [
        (BY_TYPE, "LlamaForCausalLM(config.text_config)", "depends"),
        (BY_TYPE, "Quick(config.text_config)", "on"),
    ],
)
def test_a_type_of_model_that_alone_brings_the_kernel_decides(test, other, flash, tree):
    text = MODEL.replace("{test}", test).replace("{other}", other)
    (entry,) = scan(tree({"quick.py": KERNELS, "infer.py": text})).entry_points
    assert (entry.flash, entry.language_model) == (flash, flash)
    if flash == "depends":
        assert entry.depends_on == ["config.text_config.model_type == 'quick'"]
        assert entry.default == "depends"
