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
        ("train.py a.yaml b.yaml", "off"),
        ("train.py b.yaml a.yaml", "on"),
        ("train.py --config a.yaml --attn_implementation sdpa", "off"),
        ("train.py --deepspeed a.yaml", "depends"),
        ("train.py --config deepspeed/a.yaml", "on"),
        ("train.py --config $RECIPES/a.yaml", "on"),
        ("train.py", "depends"),
    ],
)
def test_what_is_typed_goes_before_what_a_file_says(command, flash, tree):
    files = {
        "train.py": PARSES.replace("{asks}", SETTING),
        "a.yaml": FLASH,
        "b.yaml": SDPA,
        "deepspeed/a.yaml": FLASH,
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


@pytest.mark.parametrize("kind", ["a.json", "a.yaml"])
def test_what_is_typed_is_not_said_to_be_in_the_file(kind, tree):
    files = {
        "train.py": PARSES.replace("{asks}", SETTING),
        kind: json.dumps({"attn_implementation": "sdpa \ud800"}) if "json" in kind else SDPA,
        "a.sh": f"python train.py --config {kind} --attn_implementation flash_attention_2\n",
    }
    entry = entries(tree(files))["a.sh"]
    assert "--attn_implementation flash_attention_2" in entry.because
    assert entry.turn_off.startswith("--attn_implementation eager; or ")


TWO = """\
import argparse
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--use-flash-attn", action="store_true")
parser.add_argument("--enable-flash-attention", action="store_true")

if __name__ == "__main__":
    args = parser.parse_args()
    kernel = "eager"
    if args.use_flash_attn:
        kernel = "flash_attention_2"
    if args.enable_flash_attention:
        kernel = "flash_attention_2"
    AutoModelForCausalLM.from_pretrained("x", attn_implementation=kernel)
"""


def test_an_option_that_a_script_does_not_give_need_not_be_left_out(tree):
    files = {"train.py": TWO, "a.sh": "python train.py --enable-flash-attention\n"}
    entry = entries(tree(files))["a.sh"]
    assert entry.flash == "on"
    assert "--use-flash-attn" not in entry.turn_off


def test_text_that_no_encoding_holds_is_printed(tree, capsys):
    from attnswitch.cli.main import main

    files = {
        "train.py": PARSES.replace("{asks}", SETTING),
        "a.json": json.dumps({"attn_implementation": "\ud800 flash_attention_2"}),
        "a.sh": "python train.py --config a.json\n",
    }
    assert main(["scan", str(tree(files))]) == 0
    assert "a.json" in capsys.readouterr().out.encode().decode()


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
        ("model:\n  use_flash_attn: 0\n", "off"),
        ("model:\n  use_flash_attn: 1\n", "on"),
        ("model:\n  use_flash_attn: ${oc.env:FLASH,false}\n", "depends"),
        ("model:\n  use_flash_attn: '{{ flash }}'\n", "depends"),
        ("model:\n  use_flash_attn: &f false\n", "depends"),
        ("notes: |\n  use_flash_attn: true\n\n  and more\ndepth: 2\n", "depends"),
        ("notes: >-\n  long\nuse_flash_attn: true\n", "on"),
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


@pytest.mark.parametrize(
    ("typed", "flash"),
    [
        ("model.use_flash_attn=false", "off"),
        ("+model.use_flash_attn=no", "off"),
        ("--use_flash_attn false", "off"),
        ("--use-flash-attn=false", "off"),
        ("model.use_flash_attn=$FLASH", "depends"),
        ("model.depth=3", "on"),
        ("configs/b.yaml", "off"),
    ],
)
def test_what_is_typed_beside_a_configuration_goes_before_it(typed, flash, tree):
    files = {
        "train.py": READS,
        "configs/a.yaml": "model:\n  use_flash_attn: true\n",
        "configs/b.yaml": "model:\n  use_flash_attn: false\n",
        "a.sh": f"python train.py configs/a.yaml {typed}\n",
    }
    assert entries(tree(files))["a.sh"].flash == flash


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
