"""What each program gets where something is set that does not reach every model."""

from __future__ import annotations

import pytest
from results import entries
from snippets import ATTENTION_TABLE

PATCHED = """\
import argparse
import transformers
from flash_attn import flash_attn_func
{imports}


def forward(self, q, k, v):
    return flash_attn_func(q, k, v)


transformers.models.llama.modeling_llama.LlamaAttention.forward = forward

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="vicuna")
    parser.add_argument("--tower", default=None)
    args = parser.parse_args()
    if args.tower is None:
        transformers.LlamaForCausalLM.from_pretrained(args.model)
    elif "phi" in args.model:
        {other}.from_pretrained(args.model)
    else:
        transformers.LlamaForCausalLM.from_pretrained(args.model)
"""
OF_ANOTHER_FAMILY = ("", "transformers.PhiForCausalLM")
OF_THE_FAMILY = ("", "transformers.LlamaForCausalLM")
OF_ANY_FAMILY = ("", "transformers.AutoModelForCausalLM")
OF_ITS_OWN = ("from own import OwnForCausalLM", "OwnForCausalLM")
OWN = """\
import torch
from transformers import PreTrainedModel


class OwnAttention(torch.nn.Module):
    def forward(self, q, k, v):
        return q @ k @ v


class OwnForCausalLM(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.attention = OwnAttention()
"""
AROUND_ANOTHER = OWN.replace("PreTrainedModel\n", "LlamaModel, PreTrainedModel\n", 1).replace(
    "self.attention = OwnAttention()", "self.model = LlamaModel(config)"
)


@pytest.mark.parametrize(
    ("named", "own", "flash"),
    [
        (OF_ANOTHER_FAMILY, OWN, "off"),
        (OF_THE_FAMILY, OWN, "on"),
        (OF_ANY_FAMILY, OWN, "on"),
        (OF_ITS_OWN, OWN, "off"),
        (OF_ITS_OWN, AROUND_ANOTHER, "on"),
    ],
)
def test_a_patch_of_one_family_does_nothing_for_a_model_of_another(named, own, flash, tree):
    text = PATCHED.replace("{imports}", named[0]).replace("{other}", named[1])
    files = {
        "train.py": text,
        "own.py": own,
        "phi.sh": "python train.py --model phi-2 --tower clip\n",
        "vicuna.sh": "python train.py --model vicuna --tower clip\n",
    }
    found = entries(tree(files))
    assert (found["phi.sh"].flash, found["vicuna.sh"].flash) == (flash, "on")
    assert found["train.py"].flash == "on"


OR_NONE = (
    "import argparse\n"
    + ATTENTION_TABLE
    + """\


class Model(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.attention = ATTENTION_CLASSES[config._attn_implementation]()

    def forward(self, q, k, v):
        return self.attention(q, k, v)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", default="fa2")
    args = parser.parse_args()
    kernel = "flash_attention_2" if args.kernel == "fa2" else None
    Model.from_pretrained("x", attn_implementation=kernel)
"""
)


def test_none_asks_for_no_class_of_a_table(tree):
    files = {"train.py": OR_NONE, "a.sh": "python train.py --kernel none_of_them\n"}
    found = entries(tree(files))
    assert (found["train.py"].flash, found["train.py"].default) == ("depends", "on")
    assert found["train.py"].depends_on == ["kernel == 'fa2'"]
    assert found["a.sh"].flash == "off"


TOWERS = """\
import argparse
from transformers import AutoModelForCausalLM, CLIPVisionModel
from flash_attn import flash_attn_func


class PlainVisionTower:
    def __init__(self, name):
        self.name = name

    def load_model(self):
        self.model = CLIPVisionModel.from_pretrained(self.name)


class FlashVisionTower:
    def __init__(self, name):
        self.name = name

    def load_model(self):
        config = read(self.name)
        config._attn_implementation = "flash_attention_2"
        self.model = CLIPVisionModel.from_pretrained(self.name, config=config)


def build(name):
    if "plain" in name:
        return PlainVisionTower(name)
    elif "quick" in name:
        return FlashVisionTower(name)
    raise ValueError(name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--vision_tower")
    args = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained("x")
    if model.get_vision_tower() is None:
        model.tower = build(args.vision_tower)
    else:
        model.get_vision_tower().load_model()
"""


@pytest.mark.parametrize(("name", "vision"), [("plain", "off"), ("quick", "on")])
def test_a_method_of_a_tower_is_one_of_the_tower_that_the_script_names(name, vision, tree):
    script = f"python train.py --vision_tower {name}-x\n"
    found = entries(tree({"train.py": TOWERS, "a.sh": script}))
    assert found["a.sh"].vision_tower == vision


TRAINERS = """\
import argparse
from transformers import AutoModelForCausalLM, Trainer


class First(Trainer):
    def __init__(self, model=None, attn_implementation="flash_attention_2"):
        model = AutoModelForCausalLM.from_pretrained(
            model, attn_implementation=attn_implementation
        )
        super().__init__(model=model)


class Second(Trainer):
    def __init__(self, model=None, attn_implementation="flash_attention_2"):
        model = AutoModelForCausalLM.from_pretrained(
            model, attn_implementation=attn_implementation
        )
        super().__init__(model=model)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--attn_implementation", default=None)
    parser.add_argument("--second", action="store_true")
    args = parser.parse_args()
    chosen = Second if args.second else First
    chosen(model="x", attn_implementation=args.attn_implementation).train()
"""


def test_a_constructor_outside_the_tree_is_none_of_the_tree(tree):
    files = {"train.py": TRAINERS, "a.sh": "python train.py --attn_implementation eager\n"}
    found = entries(tree(files))
    assert (found["train.py"].flash, found["a.sh"].flash) == ("depends", "off")


CHAT = """\
from transformers import AutoModelForCausalLM


class Chat:
    def __init__(self, path):
        self.model = AutoModelForCausalLM.from_pretrained(
            path, attn_implementation="flash_attention_2"
        )
"""


def test_a_script_that_makes_an_object_which_loads_a_model_is_a_program(tree):
    files = {
        "chat.py": CHAT,
        "demo.py": 'from chat import Chat\n\nchat = Chat("x")\nprint(chat)\n',
        "far.py": (
            "from chat import Chat\n\n\ndef build(path):\n    return Chat(path)\n\n\n"
            'class Live:\n    def __init__(self):\n        self.chat = build("x")\n'
        ),
        "turns.py": (
            "from chat import Chat\n\n\ndef one():\n    two()\n\n\ndef two():\n    near()\n\n\n"
            "def near():\n    Chat('x')\n\n\ndef start():\n    one()\n    near()\n"
        ),
        "late.py": "from turns import start\n\nheld = start()\nprint(held)\n",
        "app.py": "from far import Live\n\nlive = Live()\nlive.run()\n",
        "names.py": 'from pathlib import Path\n\nhere = Path("x")\nprint(here)\n',
    }
    found = entries(tree(files))
    assert [found[f"{name}.py"].flash for name in ("demo", "app", "late")] == ["on"] * 3
    assert "names.py" not in found


FROM_DICT = """\
from transformers import AutoModelForCausalLM, PretrainedConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

vision = PretrainedConfig.from_dict({"depth": 32, "_attn_implementation": "{kernel}"})


if __name__ == "__main__":
    AutoModelForCausalLM.from_pretrained("x")
    Qwen2VisionTransformerPretrainedModel._from_config(vision)
"""


@pytest.mark.parametrize(("kernel", "vision"), [("flash_attention_2", "on"), ("sdpa", "off")])
def test_a_configuration_made_from_a_dictionary_asks_for_what_that_holds(kernel, vision, tree):
    files = {"demo.py": FROM_DICT.replace("{kernel}", kernel)}
    entry = entries(tree(files))["demo.py"]
    assert (entry.language_model, entry.vision_tower) == ("off", vision)


ANNOTATED = """\
from transformers import AutoModelForCausalLM, PreTrainedModel

try:
    from flash_attn import flash_attn_func
except ImportError:
    flash_attn_func = None


class Attention:
    def forward(self, q, k, v):
        if flash_attn_func is not None:
            return flash_attn_func(q, k, v)
        return q @ k @ v


class Judge(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.attention = Attention()


if __name__ == "__main__":
    model: {annotation} = AutoModelForCausalLM.from_pretrained("x")
"""


@pytest.mark.parametrize(
    ("annotation", "flash"), [("Judge", "depends"), ("PreTrainedModel", "off")]
)
def test_an_annotation_says_of_which_class_a_loaded_model_is(annotation, flash, tree):
    text = ANNOTATED.replace("{annotation}", annotation)
    assert entries(tree({"demo.py": text}))["demo.py"].flash == flash


JOINED = OR_NONE.replace(
    'ATTENTION_CLASSES = {"eager": Attention, "flash_attention_2": SmallFlashAttention2}',
    'ATTENTION_CLASSES = {"mla_eager": Attention, "mla_flash_attention_2": SmallFlashAttention2}',
).replace(
    "self.attention = ATTENTION_CLASSES[config._attn_implementation]()",
    'attn_implementation = "mla_" + config._attn_implementation\n'
    "        self.attention = ATTENTION_CLASSES[attn_implementation]()",
)


@pytest.mark.parametrize(
    ("asked", "flash"), [("", "off"), ("attn_implementation=kernel", "depends")]
)
def test_a_name_put_together_from_the_setting_is_the_setting(asked, flash, tree):
    text = JOINED.replace("attn_implementation=kernel", asked)
    assert entries(tree({"demo.py": text}))["demo.py"].flash == flash


def test_a_path_that_begins_with_the_folders_of_the_reader(tree):
    files = {
        "train/train.py": CHAT + '\n\nif __name__ == "__main__":\n    Chat("x")\n',
        "a.sh": "torchrun your/path/project/train/train.py --x 1\n",
        "b.sh": "torchrun your/path/project/other/train.py --x 1\n",
    }
    found = entries(tree(files))
    assert found["a.sh"].launches == "train/train.py"
    assert "b.sh" not in found
