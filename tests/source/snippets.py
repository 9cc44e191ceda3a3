"""Small programs written for the tests, each modelled on one mechanism of real projects."""

# ruff: noqa: E501 - a snippet is easier to read on one line
SNIPPETS: dict[str, str] = {
    "keyword_through_train": """\
from dataclasses import dataclass, field
import transformers


@dataclass
class TrainingArguments(transformers.TrainingArguments):
    cache_dir: str = field(default=None)  # where weights go


def train(attn_implementation=None):
    parser = transformers.HfArgumentParser((TrainingArguments,))
    (training_args,) = parser.parse_args_into_dataclasses()
    model = transformers.LlamaForCausalLM.from_pretrained(
        "x",
        attn_implementation=attn_implementation,
    )
    return model, training_args


if __name__ == "__main__":
    train(attn_implementation="flash_attention_2")
""",
    "argparse_literal": """\
import argparse
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="x")
    args = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(args.model, attn_implementation='flash_attention_2')
    print(model)


if __name__ == "__main__":
    main()
""",
    "monkey_patch": """\
import transformers
from flash_attn.flash_attn_interface import flash_attn_varlen_qkvpacked_func
from flash_attn.bert_padding import unpad_input, pad_input  # padding helpers


def forward(self, hidden_states):
    return flash_attn_varlen_qkvpacked_func(hidden_states, None, 1, 0.0)


def replace_llama_attn_with_flash_attn():
    transformers.models.llama.modeling_llama.LlamaAttention.forward = forward


replace_llama_attn_with_flash_attn()
model = transformers.AutoModelForCausalLM.from_pretrained("x")
tokenizer = transformers.AutoTokenizer.from_pretrained("x")
""",
    "config_writes": """\
from transformers import AutoConfig, AutoModel


class Tower:
    def __init__(self, path, **kwargs):
        config = AutoConfig.from_pretrained(path)
        config._attn_implementation = "flash_attention_2"
        self.model = AutoModel.from_pretrained(path, config=config)


if __name__ == "__main__":
    Tower("clip")
""",
    "guarded": """\
try:
    from flash_attn import flash_attn_func
    has_flash_attn = True
except ImportError:
    flash_attn_func = None
    has_flash_attn = False


class Attention:
    def __init__(self, config):
        self.use_flash_attn = config.use_flash_attn and has_flash_attn
        if config.use_flash_attn and not has_flash_attn:
            print("not available")

    def forward(self, q, k, v):
        if self.use_flash_attn:
            return flash_attn_func(q, k, v)
        return q @ k.transpose(-1, -2) @ v
""",
    "asserts": """\
def build(config, use_flash=True):
    assert config._attn_implementation == "flash_attention_2", "packing needs it"
    if not config.use_flash_attn:
        raise ValueError("use_flash_attn must be set")
    return load(config, use_flash_attention_2=True, disable_flash_attn2=False)


def load(config, **kwargs):
    kwargs["attn_implementation"] = "flash_attention_2"
    return {"attn_implementation": "sdpa", **kwargs}
""",
}

#: Two kinds of attention, and the table that a model takes one from.
ATTENTION_TABLE = """\
from transformers import PreTrainedModel
from flash_attn import flash_attn_func


class Attention:
    def forward(self, q, k, v):
        return q @ k @ v


class SmallFlashAttention2(Attention):
    def forward(self, q, k, v):
        return flash_attn_func(q, k, v)


ATTENTION_CLASSES = {"eager": Attention, "flash_attention_2": SmallFlashAttention2}
"""
