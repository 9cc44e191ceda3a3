"""What each program gets by dictionaries, choices and classes that it does not write out whole."""

from __future__ import annotations

import pytest
from results import entries

UPDATES = """\
import argparse
import yaml
import transformers
from patch import replace_llama_attn_with_flash_attn


def main(**args):
    if args["use_flash_attn"]:
        replace_llama_attn_with_flash_attn()
    transformers.LlamaForCausalLM.from_pretrained(args["path"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--use_flash_attn", action="store_true")
    args = vars(parser.parse_args())
    config = yaml.safe_load(open("config.yaml"))
    config.update(args)
    main(**config)
"""
PATCH = """\
from flash_attn import flash_attn_func
from transformers.models.llama.modeling_llama import LlamaAttention


def forward(self, q):
    return flash_attn_func(q, q, q)


def replace_llama_attn_with_flash_attn():
    LlamaAttention.forward = forward
"""


def test_options_put_into_a_dictionary_that_was_read_from_a_file(tree):
    files = {
        "train.py": UPDATES,
        "patch.py": PATCH,
        "a.sh": "python train.py --path x\n",
        "b.sh": "python train.py --use_flash_attn\n",
    }
    found = entries(tree(files))
    entry = found["train.py"]
    assert (entry.flash, entry.default, entry.depends_on) == ("depends", "off", ["use_flash_attn"])
    assert (found["a.sh"].flash, found["b.sh"].flash) == ("off", "on")


CHOOSES = """\
import argparse
from transformers import AutoModelForCausalLM


def build(name):
    if name == "fast":
        kernel = "flash_attention_2"
        return AutoModelForCausalLM.from_pretrained("y", attn_implementation=kernel)
    return AutoModelForCausalLM.from_pretrained("x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="plain"{choices})
    build(parser.parse_args().backend)
"""


@pytest.mark.parametrize(
    ("choices", "flash"),
    [
        ("", "depends"),
        (', choices=["plain", "fast"]', "depends"),
        (', choices=["plain", "other"]', "off"),
        (', choices=("plain", "other")', "off"),
        (', choices=["plain", *MORE]', "depends"),
        (", choices=NAMES", "depends"),
    ],
)
def test_what_a_parser_does_not_accept_is_not_chosen(choices, flash, tree):
    text = CHOOSES.replace("{choices}", choices)
    assert entries(tree({"eval.py": text}))["eval.py"].flash == flash


def test_a_default_need_not_be_among_the_choices(tree):
    text = CHOOSES.replace('"plain"{choices}', '"fast", choices=["plain"]')
    assert entries(tree({"eval.py": text}))["eval.py"].flash == "depends"


GENERATES = """\
import diffusers
import transformers
from diffusers import {part}
from transformers import AutoModelForCausalLM


class Generator:
    def __init__(self, config):
        self.one = {part}.from_pretrained("a")
        self.two = {part}.from_pretrained("b")


if __name__ == "__main__":
    model = AutoModelForCausalLM.from_pretrained("x"{asks})
    Generator(model.config)
"""


@pytest.mark.parametrize(
    ("asks", "flash"), [(', attn_implementation="flash_attention_2"', "on"), ("", "off")]
)
@pytest.mark.parametrize(
    "part",
    [
        *("FluxTransformer2DModel", "UNet2DConditionModel", "ControlNetModel", "FluxPipeline"),
        *("AutoencoderKL", "T5EncoderModel", "CLIPTextModelWithProjection"),
    ],
)
def test_a_generator_of_images_is_no_other_language_model(part, asks, flash, tree):
    text = GENERATES.replace("{asks}", asks).replace("{part}", part)
    entry = entries(tree({"app.py": text}))["app.py"]
    assert (entry.language_model, entry.vision_tower) == (flash, "off")
    assert "vision tower" not in entry.because


FINDS = """\
import transformers
from transformers import AutoConfig, AutoModel

SEES = "ForConditionalGeneration"


def class_of(config):
    name = AutoModel._model_mapping[type(config)].__name__
    for end in ({ends}):
        if name.endswith(end):
            return getattr(transformers, name)
    raise ValueError(name)


if __name__ == "__main__":
    model_class = class_of(AutoConfig.from_pretrained("x"))
    model_class.from_pretrained("x", attn_implementation="flash_attention_2")
"""


@pytest.mark.parametrize(
    ("ends", "vision"),
    [('"ForCausalLM", "ForConditionalGeneration"', "on"), ('"ForCausalLM", "LMHeadModel"', "off")],
)
def test_a_class_found_by_the_end_of_its_name_may_hold_a_tower(ends, vision, tree):
    entry = entries(tree({"train.py": FINDS.replace("{ends}", ends)}))["train.py"]
    assert (entry.language_model, entry.vision_tower) == ("on", vision)


HELPS = """\
from transformers import AutoConfig, AutoModelForCausalLM


def sees(config):
    return config.architectures[0].endswith("ForConditionalGeneration")


if __name__ == "__main__":
    if sees(AutoConfig.from_pretrained("x")):
        AutoModelForCausalLM.from_pretrained("x", attn_implementation="eager")
    else:
        AutoModelForCausalLM.from_pretrained("x", attn_implementation="flash_attention_2")
"""


def test_a_test_of_the_end_of_a_name_finds_no_class(tree):
    entry = entries(tree({"train.py": HELPS}))["train.py"]
    assert (entry.flash, entry.vision_tower) == ("on", "off")
