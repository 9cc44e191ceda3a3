"""Who decides: a checkpoint's configuration, the option of this program, the name of the model."""

# ruff: noqa: E501 - a snippet is easier to read on one line
from __future__ import annotations

import pytest
from results import entries
from snippets import ATTENTION_TABLE

LOADER = "from transformers import AutoModelForCausalLM as M\n"


CONFIGURED = {
    "configuration_small.py": """\
from transformers import PretrainedConfig


class SmallConfig(PretrainedConfig):
    def __init__(self, hidden_size=64, attn_implementation={default}, **kwargs):
        self.hidden_size = hidden_size
        self.attn_implementation = attn_implementation
        super().__init__(**kwargs)
""",
    "modeling_small.py": ATTENTION_TABLE
    + """\
from configuration_small import SmallConfig


class SmallForCausalLM(PreTrainedModel):
    config_class = SmallConfig

    def __init__(self, config):
        super().__init__(config)
        self.attention = ATTENTION_CLASSES[config.attn_implementation]()

    def forward(self, x):
        return self.attention(x, x, x)
""",
    "chat.py": "from modeling_small import SmallForCausalLM\n\nif __name__ == '__main__':\n    SmallForCausalLM.from_pretrained('x')\n",
    "handed.py": "from modeling_small import SmallForCausalLM\nfrom configuration_small import SmallConfig\n\nif __name__ == '__main__':\n    SmallConfig.from_pretrained('x')\n    SmallForCausalLM.from_pretrained('x')\n",
    "fixed.py": "from modeling_small import SmallForCausalLM\nfrom configuration_small import SmallConfig\n\nif __name__ == '__main__':\n    config = SmallConfig.from_pretrained('x')\n    config.attn_implementation = 'flash_attention_2'\n    SmallForCausalLM.from_pretrained('x', config=config)\n",
}


@pytest.mark.parametrize(
    ("default", "held"), [("'flash_attention_2'", "on"), ("'eager'", "depends")]
)
def test_a_checkpoint_says_what_a_field_of_its_own_configuration_is(default, held, tree):
    files = {name: text.replace("{default}", default) for name, text in CONFIGURED.items()}
    found = entries(tree(files))
    for chat in (found["chat.py"], found["handed.py"]):
        assert (chat.language_model, chat.default) == ("depends", held)
        assert any("attn_implementation" in condition for condition in chat.depends_on)
    assert found["fixed.py"].language_model == "on"


def test_what_no_checkpoint_holds_is_the_last_word(tree):
    files = {
        name: text.replace("{default}", "'flash_attention_2'") for name, text in CONFIGURED.items()
    }
    config = files["configuration_small.py"].replace("self.attn", "self._attn")
    files["configuration_small.py"] = config
    files["modeling_small.py"] = files["modeling_small.py"].replace("config.attn", "config._attn")
    assert entries(tree(files))["chat.py"].language_model == "on"


@pytest.mark.parametrize(
    "signature",
    [
        "self, /, hidden_size=64, attn_implementation",
        "self, hidden_size=64, *, attn_implementation",
        "self, hidden_size=64, /, attn_implementation",
    ],
)
def test_any_kind_of_parameter_can_be_a_field(signature, tree):
    files = {
        name: text.replace("{default}", "'flash_attention_2'") for name, text in CONFIGURED.items()
    }
    config = files["configuration_small.py"]
    files["configuration_small.py"] = config.replace(
        "self, hidden_size=64, attn_implementation", signature
    )
    chat = entries(tree(files))["chat.py"]
    assert (chat.language_model, chat.default) == ("depends", "on")


TRL = {
    "trl/__init__.py": "from .parser import TrlParser\nfrom .config import ModelConfig\n",
    "trl/parser.py": "from transformers import HfArgumentParser\n\n\nclass TrlParser(HfArgumentParser):\n    def parse_args_and_config(self):\n        return self.parse_args_into_dataclasses()\n",
    "trl/config.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass ModelConfig:\n    attn_implementation: str = None\n",
    "sft.py": f"{LOADER}from trl import ModelConfig, TrlParser\n\nif __name__ == '__main__':\n    parser = TrlParser((ModelConfig,))\n    (model_args,) = parser.parse_args_and_config()\n    M.from_pretrained('x', attn_implementation=model_args.attn_implementation)\n",
    "train.py": f"import argparse\n{LOADER}\nif __name__ == '__main__':\n    p = argparse.ArgumentParser()\n    p.add_argument('--attn_implementation', default='flash_attention_2')\n    args = p.parse_args()\n    M.from_pretrained('x', attn_implementation=args.attn_implementation)\n",
    "sft.sh": "python sft.py --attn_implementation flash_attention_2\n",
    "plain.sh": "python sft.py\n",
}


def test_dataclasses_of_a_parser_are_options_whatever_their_names(tree):
    found = entries(tree(TRL))
    assert (found["sft.py"].flash, found["sft.py"].default) == ("depends", "off")
    assert (found["train.py"].flash, found["train.py"].default) == ("depends", "on")
    assert (found["sft.sh"].flash, found["plain.sh"].flash) == ("on", "off")


def test_an_option_of_another_program_is_not_this_ones(tree):
    outside = {name: text for name, text in TRL.items() if not name.startswith("trl/")}
    found = entries(tree(outside))
    assert (found["sft.py"].flash, found["sft.py"].default) == ("depends", "depends")
    assert found["sft.sh"].flash == "on"


MPT = {
    "mpt.py": """\
import torch.nn as nn
from transformers import PreTrainedModel
from blocks import Block


class MPTModel(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.blocks = nn.ModuleList([Block(config) for _ in range(2)])


class MPTForCausalLM(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.transformer = MPTModel(config)
""",
    "blocks.py": "import torch.nn as nn\n\n\nclass Block(nn.Module):\n    pass\n",
    "patch.py": "import transformers\nfrom flash_attn import flash_attn_func\n\n\ndef forward(self, q, k, v):\n    return flash_attn_func(q, k, v)\n\n\ndef replace():\n    transformers.models.llama.modeling_llama.LlamaAttention.forward = forward\n",
    "train.py": """\
import argparse
from patch import replace

replace()

from mpt import MPTForCausalLM
from transformers import LlamaForCausalLM

if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--model_name_or_path", default="llama")
    args = p.parse_args()
    if "mpt" in args.model_name_or_path:
        MPTForCausalLM.from_pretrained(args.model_name_or_path)
    else:
        LlamaForCausalLM.from_pretrained(args.model_name_or_path)
""",
    "mpt.sh": "python train.py --model_name_or_path mosaicml/mpt-7b\n",
    "llama.sh": "python train.py --model_name_or_path lmsys/vicuna-7b\n",
}


def test_a_patch_of_llama_does_not_reach_a_model_that_stacks_its_own_layers(tree):
    found = entries(tree(MPT))
    assert (found["llama.sh"].language_model, found["mpt.sh"].language_model) == ("on", "off")


QFORMER = {
    **{name: MPT[name] for name in ("patch.py",)},
    "llava_llama.py": "from transformers import LlamaForCausalLM\n\n\nclass LlavaLlamaForCausalLM(LlamaForCausalLM):\n    pass\n",
    "llava_qformer.py": "import torch.nn as nn\nfrom llava_llama import LlavaLlamaForCausalLM\n\n\nclass Resampler(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.layers = nn.ModuleList([])\n\n\nclass LlavaQformerForCausalLM(LlavaLlamaForCausalLM):\n    def __init__(self, config):\n        super().__init__(config)\n        self.resampler = Resampler()\n",
    "train_mem.py": "from patch import replace\n\nreplace()\n\nfrom llava_qformer import LlavaQformerForCausalLM\n\nif __name__ == '__main__':\n    LlavaQformerForCausalLM.from_pretrained('x')\n",
}


def test_layers_beside_a_llama_do_not_make_it_another_family(tree):
    assert entries(tree(QFORMER))["train_mem.py"].language_model == "on"


NAVIT = """\
import torch.nn as nn
from flash_attn import flash_attn_varlen_func


class PackedAttention(nn.Module):
    def forward(self, q, k, v):
        return flash_attn_varlen_func(q, k, v)


class Packed(nn.Module):
    def __init__(self):
        self.attention = PackedAttention()

    def forward(self, x):
        return self.attention(x, x, x)
"""


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("qwen2_navit", "language_model"),
        ("siglip_navit", "vision_tower"),
        ("navit", "vision_tower"),
    ],
)
def test_a_language_model_that_packs_as_navit_does_is_no_tower(name, role, tree):
    run = f"from {name} import Packed\n\nif __name__ == '__main__':\n    Packed()(1)\n"
    found = entries(tree({f"{name}.py": NAVIT, "run.py": run}))["run.py"]
    assert (found.language_model, found.vision_tower) == (
        ("on", "off") if role == "language_model" else ("off", "on")
    )


BY_NAME = """\
from transformers import AutoModelForCausalLM, GemmaForCausalLM
from names import name_of


def load(path):
    model_name = name_of(path)
    if "gemma" in model_name.lower():
        return GemmaForCausalLM.from_pretrained(path, attn_implementation="eager")
    elif "qwen" in model_name.lower():
        return AutoModelForCausalLM.from_pretrained(path, attn_implementation="flash_attention_2")
    elif "llama" in model_name.lower():
        return AutoModelForCausalLM.from_pretrained(path, attn_implementation="flash_attention_2")


if __name__ == "__main__":
    load("x")
"""


def test_a_name_that_is_not_followed_picks_a_model_all_the_same(tree):
    found = entries(tree({"chat.py": BY_NAME}))["chat.py"]
    assert found.language_model == "depends"
    assert all("model_name.lower()" in condition for condition in found.depends_on)
    assert found.depends_on


POPPED = {
    "configuration_big.py": """\
from transformers import PretrainedConfig


class VisionConfig(PretrainedConfig):
    pass


class BigConfig(PretrainedConfig):
    def __init__(self, vision_config=None, **kwargs):
        super().__init__(**kwargs)
        asked = kwargs.pop("attn_implementation", None)
        vision_config = VisionConfig(**vision_config)
        vision_config._attn_implementation = "flash_attention_2" if asked is None else asked
        self.vision_config = vision_config
""",
    "modeling_big.py": "from transformers import PreTrainedModel\nfrom configuration_big import BigConfig\n\n\nclass BigForCausalLM(PreTrainedModel):\n    config_class = BigConfig\n",
    "eager.py": "from modeling_big import BigForCausalLM\n\nif __name__ == '__main__':\n    BigForCausalLM.from_pretrained('x', attn_implementation='eager')\n",
    "flash.py": "from modeling_big import BigForCausalLM\n\nif __name__ == '__main__':\n    BigForCausalLM.from_pretrained('x', attn_implementation='flash_attention_2')\n",
}


def test_a_configuration_takes_what_the_load_hands_on(tree):
    found = entries(tree(POPPED))
    assert (found["eager.py"].vision_tower, found["flash.py"].vision_tower) == ("off", "on")


def test_a_configuration_is_read_from_the_folder_where_its_path_leads_to_a_file(tree):
    files = {
        "project/model/settings.py": "model = dict(use_flash_attn=False, name='x')\n",
        "project/model/tower.py": "from flash_attn import flash_attn_func\n\n\nclass Tower:\n    def __init__(self, use_flash_attn=True):\n        self.use_flash_attn = use_flash_attn\n\n    def forward(self, q):\n        return flash_attn_func(q, q, q) if self.use_flash_attn else q\n",
        "project/chat.py": "from some.where import Config\nfrom model.tower import Tower\n\nif __name__ == '__main__':\n    config = Config.from_file('model/settings.py')\n    Tower(use_flash_attn=config.model.get('use_flash_attn', True)).forward(1)\n",
    }
    assert entries(tree(files))["project/chat.py"].flash == "off"
