"""What a program gets where a script gives it a file of options or settings."""

from __future__ import annotations

import json
import time

import pytest
from results import entries

PARSES = """\
import argparse
from transformers import AutoModelForCausalLM
from trl import ModelConfig, TrlParser

parser = argparse.ArgumentParser()
parser.add_argument("--config")
parser.add_argument("--use-flash-attn", action="store_true")

if __name__ == "__main__":
    args = parser.parse_args()
    (model_args,) = TrlParser((ModelConfig,)).parse_args_and_config()
    kernel = model_args.attn_implementation
    AutoModelForCausalLM.from_pretrained("x", {asks})
"""
SETTING = "attn_implementation=kernel"
SWITCH = 'attn_implementation="flash_attention_2" if args.use_flash_attn else "eager"'
FLASH = "# for Ampere\nmodel_name_or_path: x\n'attn_implementation': \"flash_attention_2\"\n"
SDPA = "attn_implementation: sdpa  # and not flash_attention_2\n"
NESTED = "model:\n  attn_implementation: flash_attention_2\n"
JSON = json.dumps({"attn_implementation": "flash_attention_2", "nested": {"a": [1]}})


@pytest.mark.parametrize(
    ("name", "text", "flash"),
    [
        ("a.yaml", FLASH, "on"),
        ("a.yml", SDPA, "off"),
        ("a.yaml", NESTED, "depends"),
        ("a.yaml", "attn_implementation:\n- flash_attention_2\n", "depends"),
        ("a.yaml", "{% raw %}\n\t: {\nattn_implementation: flash_attention_2\n", "on"),
        ("a.json", JSON, "on"),
        ("a.json", '{"attn_implementation": ', "depends"),
        ("a.json", '["attn_implementation"]', "depends"),
        ("other.yaml", FLASH, "depends"),
    ],
)
def test_a_file_of_options_gives_them(name, text, flash, tree):
    wanted = name.replace("other", "a")
    files = {
        "project/train.py": PARSES.replace("{asks}", SETTING),
        f"project/recipes/{name}": text,
        "project/scripts/a.sh": f"accelerate launch train.py --config recipes/{wanted}\n",
    }
    assert entries(tree(files))["project/scripts/a.sh"].flash == flash


@pytest.mark.parametrize(
    ("command", "flash"),
    [
        ("train.py --config=a.yaml", "on"),
        ("train.py a.yaml", "on"),
        ("train.py --config a.yaml --attn_implementation sdpa", "off"),
        ("train.py --deepspeed a.yaml", "depends"),
        ("train.py --config $RECIPES/a.yaml", "on"),
        ("train.py", "depends"),
    ],
)
def test_what_is_typed_goes_before_what_a_file_says(command, flash, tree):
    files = {
        "train.py": PARSES.replace("{asks}", SETTING),
        "a.yaml": FLASH,
        "a.sh": f"accelerate launch --config_file a.yaml {command}\n",
    }
    assert entries(tree(files))["a.sh"].flash == flash


@pytest.mark.parametrize(
    ("asks", "option", "way"),
    [
        (SETTING, "attn_implementation: flash_attention_2", "attn_implementation: eager in a.yaml"),
        (SWITCH, "use_flash_attn: true", "use_flash_attn: false in a.yaml"),
    ],
)
def test_the_file_is_named_and_what_to_change_in_it(asks, option, way, tree):
    files = {
        "train.py": PARSES.replace("{asks}", asks),
        "a.yaml": option + "\n",
        "a.sh": "python train.py --config a.yaml\n",
    }
    entry = entries(tree(files))["a.sh"]
    assert entry.flash == "on"
    assert "(a.yaml)" in entry.because
    assert entry.turn_off.startswith(way + "; or ")


def test_a_script_that_turns_it_on_is_told_the_option(tree):
    files = {
        "train.py": PARSES.replace("{asks}", SETTING),
        "a.sh": "python train.py --attn_implementation flash_attention_2\n",
    }
    entry = entries(tree(files))["a.sh"]
    assert entry.turn_off.startswith("--attn_implementation eager; or ")


READS = """\
import sys
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM

if __name__ == "__main__":
    config = OmegaConf.load(sys.argv[1])
    kernel = "flash_attention_2" if config.model.use_flash_attn else "sdpa"
    AutoModelForCausalLM.from_pretrained("x", attn_implementation=kernel)
"""


@pytest.mark.parametrize(
    ("text", "flash"),
    [
        ("model:\n  use_flash_attn: true\n", "on"),
        ("model:\n  use_flash_attn: no\n", "off"),
        ("model:\n  use_flash_attn: off\n", "off"),
        ("model:\n  use_flash_attn: On\n", "on"),
        ("model:\n  use_flash_attn: true\nother:\n  use_flash_attn: false\n", "depends"),
        ("model:\n  depth: 2\n", "depends"),
    ],
)
def test_a_setting_in_a_given_configuration_is_what_it_says(text, flash, tree):
    files = {
        "train.py": READS,
        "configs/a.yaml": text,
        "a.sh": "python train.py configs/a.yaml\n",
    }
    found = entries(tree(files))
    assert found["train.py"].flash == "depends"
    assert found["a.sh"].flash == flash


def test_a_file_of_data_is_not_read_for_options(tree):
    long = "".join(f"question_{i}: why\n" for i in range(8_000))
    files = {
        "train.py": PARSES.replace("{asks}", SETTING),
        "a.yaml": FLASH + long,
        "a.sh": "python train.py --config a.yaml\n",
    }
    assert entries(tree(files))["a.sh"].flash == "depends"


def test_a_line_of_blanks_takes_no_time(tree):
    blanks = " " * 90_000
    files = {
        "train.py": PARSES.replace("{asks}", SETTING),
        "a.yaml": f"attn_implementation: sdpa{blanks}x\n",
        "a.sh": "python train.py --config a.yaml\n",
    }
    started = time.process_time()
    entries(tree(files))
    assert time.process_time() - started < 5  # a search over all pairs of blanks takes minutes
