"""What programs get whose model is named in a configuration that is given on the command line."""

from __future__ import annotations

import pytest
from results import entries

MODEL = """\
from transformers import AutoModelForCausalLM


class {name}:
    def __init__(self, config):
        use_flash_attention = config.get("use_flash_attention", False)
        if use_flash_attention:
            self.model = AutoModelForCausalLM.from_pretrained(
                config.path, attn_implementation="flash_attention_2"
            )
        else:
            self.model = AutoModelForCausalLM.from_pretrained(config.path)
"""
TRAIN = """\
import sys
from models import *
from reading import read_config


def setup_model(config, model_cls):
    return model_cls(config=config.model).cuda()


def main(config):
    model_cls = eval(config.model.get("model_cls", "Small"))
    setup_model(config, model_cls)


if __name__ == "__main__":
    main(read_config(sys.argv[1]))
"""
CONFIGURATION = """\
from data import *
batch = 3
optimizer = dict(name="Adam")
model = dict(model_cls="Large", vision=dict(name="vit"){more})
"""
FILES = {
    "models/__init__.py": "from .large import Large\nfrom .small import Small\n",
    "models/large.py": MODEL.replace("{name}", "Large"),
    "models/small.py": "class Small:\n    def __init__(self, config):\n        pass\n",
    "reading.py": "def read_config(path):\n    return load(open(path))\n",
    "data.py": "",
    "tasks/train.py": TRAIN,
    "scripts/fast.py": CONFIGURATION.replace("{more}", ", use_flash_attention=True"),
    "scripts/slow.py": CONFIGURATION.replace("{more}", ""),
    "scripts/twice.py": CONFIGURATION.replace("{more}", ", use_flash_attention=True")
    + "other = dict(use_flash_attention=False)\n",
    "scripts/based.py": "_base_ = ['./fast.py']\nmodel = dict(path='x')\n",
    "scripts/starred.py": "from scripts.fast import *\nmodel = dict(path='x')\n",
}


def test_a_class_named_by_an_unknown_configuration_is_one_that_the_program_imports(tree):
    entry = entries(tree(FILES))["tasks/train.py"]
    assert (entry.flash, entry.language_model, entry.vision_tower) == ("depends", "depends", "off")
    assert "use_flash_attention" in entry.depends_on


@pytest.mark.parametrize(
    ("line", "flash"),
    [
        ("python tasks/train.py scripts/fast.py output_dir x", "on"),
        ("python tasks/train.py --config scripts/fast.py", "on"),
        ("python tasks/train.py scripts/slow.py", "off"),
        ("torchrun tasks/train.py $(dirname $0)/fast.py", "on"),
        ('torchrun tasks/train.py "$(dirname "$0")/slow.py"', "off"),
        ("srun -p x bash torchrun.sh tasks/train.py scripts/fast.py", "on"),
        ("python tasks/train.py scripts/twice.py", "depends"),
        ("python tasks/train.py scripts/based.py", "on"),
        ("python tasks/train.py scripts/starred.py", "on"),
        ("python tasks/train.py scripts/elsewhere.py", "depends"),
    ],
)
def test_a_script_is_what_the_configuration_says_that_it_gives(line, flash, tree):
    found = entries(tree({**FILES, "scripts/run.sh": line + "\n"}))["scripts/run.sh"]
    assert (found.flash, found.launches) == (flash, "tasks/train.py")


MADE_IN_A_FUNCTION = """\
import gradio
from models import {called}


def init_model(config):
    return {called}(config)


with gradio.Blocks() as demo:
    model = init_model(dict(path="x"))
demo.launch()
"""


@pytest.mark.parametrize(("called", "listed"), [("Large", True), ("Small", False)])
def test_a_script_that_makes_its_model_in_a_function_is_a_program(called, listed, tree):
    text = MADE_IN_A_FUNCTION.replace("{called}", called)
    assert ("demo.py" in entries(tree({**FILES, "demo.py": text}))) == listed
