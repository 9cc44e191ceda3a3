"""What each program gets by objects of options, and by configurations that it changes."""

from __future__ import annotations

import pytest
from results import entries

OPTIONS = """\
from dataclasses import asdict, dataclass
from transformers import AutoModelForCausalLM, HfArgumentParser, TrainingArguments


@dataclass
class Arguments(TrainingArguments):
    version: str = "one"
    attn_implementation: str = "flash_attention_2"


@dataclass
class Plain(Arguments):
    version: str = "one"


@dataclass
class Fine(Arguments):
    version: str = "two"


def class_of(version):
    if version == "one":
        return Plain
    elif version == "two":
        return Fine
    raise NotImplementedError


def build(*, path="x", attn_implementation="flash_attention_2", **rest):
    return AutoModelForCausalLM.from_pretrained(path, attn_implementation=attn_implementation)


if __name__ == "__main__":
    (given,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()
    (given,) = HfArgumentParser({made}).parse_args_into_dataclasses()
    build(**{spread})
"""


@pytest.mark.parametrize("made", ["Arguments", "Fine", "class_of(given.version)"])
@pytest.mark.parametrize("spread", ["asdict(given)", "vars(given)", "given.to_dict()"])
def test_options_handed_over_as_a_dictionary_are_options(made, spread, tree):
    text = OPTIONS.replace("{made}", made).replace("{spread}", spread)
    files = {"train.py": text, "a.sh": "python train.py --attn_implementation sdpa\n"}
    found = entries(tree(files))
    entry = found["train.py"]
    assert (entry.flash, entry.default) == ("depends", "on")
    assert entry.depends_on == ["attn_implementation = flash_attention_2"]
    assert found["a.sh"].flash == "off"


@pytest.mark.parametrize("handed", ['path="y"', "**Fine().to_dict()", "**read(given)"])
def test_options_that_are_not_handed_over_are_none(handed, tree):
    text = OPTIONS.replace("{made}", "Arguments").replace("**{spread}", handed)
    entry = entries(tree({"train.py": text}))["train.py"]
    assert (entry.flash, entry.depends_on) == ("on", [])


SWITCH = """\
import json
from transformers import AutoModelForCausalLM


def build(*, path="x", use_flash_attn=True):
    kernel = "flash_attention_2" if use_flash_attn else "sdpa"
    return AutoModelForCausalLM.from_pretrained(path, attn_implementation=kernel)


if __name__ == "__main__":
    build(**json.load(open("given.json")))
"""


def test_a_parameter_of_a_function_is_no_field_of_a_checkpoint(tree):
    entry = entries(tree({"infer.py": SWITCH}))["infer.py"]
    assert (entry.flash, entry.depends_on) == ("on", [])


FIELD = """\
from dataclasses import dataclass, fields
from transformers import PretrainedConfig, PreTrainedModel


@dataclass
class ModelConfig:
    layers: int = 2
    flash_attention: bool = {default}


class DenseConfig(PretrainedConfig):
    def __init__(self, **kwargs):
        held = ModelConfig().__dict__
        held.update(kwargs)
        super().__init__(**held)


def narrowed(config):
    return ModelConfig(**{f.name: getattr(config, f.name) for f in fields(ModelConfig)})


class Block:
    def __init__(self, config):
        self.flash_attn_func = None
        if config.flash_attention:
            from flash_attn import flash_attn_func

            self.flash_attn_func = flash_attn_func

    def forward(self, q):
        if self.flash_attn_func is not None:
            return self.flash_attn_func(q, q, q)
        return q


class DenseModel(PreTrainedModel):
    config_class = DenseConfig

    def __init__(self, config):
        super().__init__(config)
        self.block = Block({held})


if __name__ == "__main__":
    DenseModel.from_pretrained("x")
"""


@pytest.mark.parametrize("held", ["narrowed(config)", "config"])
@pytest.mark.parametrize(("default", "expected"), [("True", "on"), ("False", "off")])
def test_a_field_of_a_checkpoint_has_the_default_of_the_class_that_declares_it(
    held, default, expected, tree
):
    text = FIELD.replace("{default}", default).replace("{held}", held)
    entry = entries(tree({"infer.py": text}))["infer.py"]
    assert (entry.flash, entry.default) == ("depends", expected)
    assert "flash_attention" in entry.depends_on


COPIED = """\
import copy
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM, Qwen2Model


class Speaker:
    def __init__(self, config):
        own = {copied}
        own.num_hidden_layers = 2
        own._attn_implementation = "flash_attention_2"
        self.width = own.hidden_size
        self.llm = {made}


if __name__ == "__main__":
    model = AutoModelForCausalLM.from_pretrained("x")
    Speaker(model.config)
"""


@pytest.mark.parametrize(
    ("copied", "made", "flash"),
    [
        ("copy.deepcopy(config)", 'Qwen2ForCausalLM.from_pretrained("y")', "off"),
        ("copy.deepcopy(config)", "Qwen2Model(own)", "on"),
        ("copy.deepcopy(config)", "Qwen2Model(own.to_dict())", "on"),
        ("copy.deepcopy(config)", "AutoModelForCausalLM.from_config(own.text_config)", "on"),
        ("config", 'Qwen2ForCausalLM.from_pretrained("y")', "on"),
    ],
)
def test_what_is_written_into_a_copy_that_nobody_gets_asks_for_nothing(copied, made, flash, tree):
    text = COPIED.replace("{copied}", copied).replace("{made}", made)
    assert entries(tree({"infer.py": text}))["infer.py"].flash == flash


SHARED = """\
import copy
from transformers import AutoModelForCausalLM, Qwen2Model

CONFIG = None


def prepare(given):
    global CONFIG
    CONFIG = copy.deepcopy(given)
    CONFIG._attn_implementation = "flash_attention_2"


if __name__ == "__main__":
    prepare(AutoModelForCausalLM.from_pretrained("x").config)
    Qwen2Model(CONFIG)
"""


def test_a_copy_that_the_whole_module_sees_is_handed_on(tree):
    assert entries(tree({"infer.py": SHARED}))["infer.py"].flash == "on"


@pytest.mark.parametrize("other", ["a_other.py", "z_other.py"])
def test_a_field_of_another_configuration_is_not_its_default(other, tree):
    files = {
        "infer.py": FIELD.replace("{default}", "True").replace("{held}", "config"),
        other: (
            "from dataclasses import dataclass\n\n\n@dataclass\nclass OtherConfig:\n"
            "    flash_attention: bool = False\n"
        ),
    }
    entry = entries(tree(files))["infer.py"]
    assert (entry.flash, entry.default) == ("depends", "depends")


TOWER = """\
from transformers import PretrainedConfig, PreTrainedModel
from flash_attn import flash_attn_func


class VisionConfig(PretrainedConfig):
    def __init__(self, depth=2, use_flash_attn={default}, **rest):
        super().__init__(**rest)
        self.use_flash_attn = use_flash_attn


class ChatConfig(PretrainedConfig):
    def __init__(self, vision_config=None, **rest):
        super().__init__(**rest)
        if vision_config is None:
            vision_config = {}
        self.vision_config = VisionConfig({given})


class VisionAttention:
    def __init__(self, config):
        self.use_flash_attn = config.use_flash_attn

    def forward(self, q):
        return flash_attn_func(q, q, q) if self.use_flash_attn else q


class ChatModel(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.vision = VisionAttention(config.vision_config)


if __name__ == "__main__":
    config = ChatConfig.from_pretrained("x")
    config.vision_config.drop_path_rate = 0.1
    ChatModel.from_pretrained("x", config=config)
"""


@pytest.mark.parametrize(
    ("given", "default", "vision", "expected"),
    [
        ("**vision_config", "True", "depends", "on"),
        ("**vision_config", "False", "depends", "off"),
        ("use_flash_attn=True, **vision_config", "False", "on", "on"),
        ("depth=3", "True", "on", "on"),
    ],
)
def test_a_switch_of_a_configuration_is_what_the_checkpoint_says(
    given, default, vision, expected, tree
):
    text = TOWER.replace("{given}", given).replace("{default}", default)
    entry = entries(tree({"train.py": text}))["train.py"]
    assert (entry.vision_tower, entry.default) == (vision, expected)
