"""What each program gets where one thing hands on what was asked to another."""

from __future__ import annotations

import pytest

from attnswitch.source import scan


def entries(root):
    return {e.path: e for e in scan(root).entry_points}


WHOLE = """\
from transformers import {name}

if __name__ == "__main__":
    {name}.from_pretrained("x", attn_implementation="flash_attention_2")
"""


@pytest.mark.parametrize(
    ("name", "vision"),
    [
        ("Qwen2_5_VLForConditionalGeneration", "on"),
        ("LlavaNextForConditionalGeneration", "on"),
        ("AutoModelForVision2Seq", "on"),
        ("T5ForConditionalGeneration", "off"),
        ("Qwen2ForCausalLM", "off"),
    ],
)
def test_a_model_of_transformers_asks_its_tower_for_the_same(name, vision, tree):
    entry = entries(tree({"infer.py": WHOLE.replace("{name}", name)}))["infer.py"]
    assert (entry.language_model, entry.vision_tower) == ("on", vision)


OWN = """\
from transformers import PreTrainedModel, {name}


class Judge(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        {makes}


if __name__ == "__main__":
    config = Judge.config_class.from_pretrained("x")
    Judge.from_pretrained("x", config=config, attn_implementation="flash_attention_2")
"""
BY_CONFIG = ("AutoModel", "self.vision = AutoModel.from_config(config.vision_config)")
BY_CLASS = ("Qwen2VLModel", "self.model = Qwen2VLModel(config)")


@pytest.mark.parametrize(
    ("made", "pin", "vision"),
    [
        (BY_CONFIG, "transformers==4.37.2", "off"),
        (BY_CONFIG, "transformers==4.49.0", "on"),
        (BY_CLASS, "transformers==4.45.0", "off"),
        (BY_CLASS, "transformers", "on"),
    ],
)
def test_the_parts_of_a_model_follow_it_since_the_version_that_made_them(made, pin, vision, tree):
    text = OWN.replace("{name}", made[0]).replace("{makes}", made[1])
    files = {"infer.py": text, "requirements.txt": f"{pin}\n"}
    entry = entries(tree(files))["infer.py"]
    assert (entry.language_model, entry.vision_tower) == ("on", vision)


REMOTE = """\
import ray
from transformers import AutoModelForCausalLM


@ray.remote(num_gpus=1)
def evaluate(path, kernel="flash_attention_2"):
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation=kernel)
    return model.generate(1)


if __name__ == "__main__":
    ray.get([{called}("x") for part in range(8)])
"""


@pytest.mark.parametrize("called", ["evaluate.remote", "evaluate.options(num_cpus=2).remote"])
def test_a_function_that_runs_in_another_process_is_followed(called, tree):
    entry = entries(tree({"evaluate.py": REMOTE.replace("{called}", called)}))["evaluate.py"]
    assert (entry.flash, entry.kind) == ("on", "evaluation")


PATCHED = """\
from flash_attn import flash_attn_func
from transformers import AutoModelForCausalLM
from transformers.models.llama.modeling_llama import {owner}


def forward(self, q):
    return flash_attn_func(q, q, q)


if __name__ == "__main__":
    {owner}.forward = forward
    AutoModelForCausalLM.from_pretrained("x"{asked})
"""


@pytest.mark.parametrize(
    ("owner", "asked", "flash"),
    [
        ("LlamaAttention", "", "on"),
        ("LlamaFlashAttention2", "", "off"),
        ("LlamaFlashAttention2", ', attn_implementation="flash_attention_2"', "on"),
    ],
)
def test_a_patch_of_a_class_that_only_a_request_chooses_does_not_choose_it(
    owner, asked, flash, tree
):
    text = PATCHED.replace("{owner}", owner).replace("{asked}", asked)
    assert entries(tree({"infer.py": text}))["infer.py"].language_model == flash


TRAINER = """\
from transformers import AutoModelForCausalLM, Trainer
from trl import ModelConfig, TrlParser


class PolicyTrainer(Trainer):
    def __init__(self, model, args, kernel="flash_attention_2"):
        wanted = args.model_init_kwargs or {}
        wanted["attn_implementation"] = kernel
        if wanted.get("torch_dtype") is None:
            wanted["torch_dtype"] = "bfloat16"
        self.model = AutoModelForCausalLM.from_pretrained(model, **wanted)


if __name__ == "__main__":
    training_args, model_args = TrlParser((ModelConfig,)).parse_args_and_config()
    PolicyTrainer("x", training_args, kernel=model_args.attn_implementation).train()
"""


def test_a_dictionary_that_somebody_else_began_is_handed_on(tree):
    files = {
        "train.py": TRAINER,
        "a.sh": "python train.py --attn_implementation flash_attention_2\n",
        "b.sh": "python train.py --attn_implementation eager\n",
    }
    found = entries(tree(files))
    assert found["train.py"].flash == "depends"
    assert (found["a.sh"].flash, found["b.sh"].flash) == ("on", "off")


OBJECT = """\
from transformers import AutoModelForCausalLM, Trainer


class PolicyTrainer(Trainer):
    def __init__(self, model):
        if isinstance(model, str):
            model = AutoModelForCausalLM.from_pretrained(model)
        self.model = model


if __name__ == "__main__":
    {made}
    PolicyTrainer(model).train()
"""


@pytest.mark.parametrize(
    ("made", "flash"),
    [
        ('model = AutoModelForCausalLM.from_pretrained("x", attn_implementation="fa2")', "on"),
        ('model = "x"', "off"),
    ],
)
def test_a_model_that_was_loaded_is_no_path_to_load(made, flash, tree):
    entry = entries(tree({"train.py": OBJECT.replace("{made}", made)}))["train.py"]
    assert entry.flash == flash
    assert "not asked for" not in entry.because


TOWER = """\
import argparse

from flash_attn import flash_attn_func
from transformers import AutoModelForCausalLM, CLIPVisionModel, SiglipVisionModel


class QuickAttention:
    def forward(self, q):
        return flash_attn_func(q, q, q)


class QuickVisionTower:
    def __init__(self):
        self.attn = QuickAttention()


def is_quick(name):
    return any(part in name for part in ("quick_vit", "QuickViT"))


def build_vision_tower(config):
    vision_tower_name = config.tower
    if is_quick(vision_tower_name):
        return QuickVisionTower()
    if "clip" in vision_tower_name:
        return CLIPVisionModel.from_pretrained(vision_tower_name)
    return SiglipVisionModel.from_pretrained(vision_tower_name)


def load(path, base):
    config = path.config
    if base:
        model = AutoModelForCausalLM.from_pretrained(base)
        return model, build_vision_tower(config)
    model = AutoModelForCausalLM.from_pretrained(path)
    return model, build_vision_tower(config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default=None)
    parser.add_argument("--vision_tower", default=None)
    args = parser.parse_args()
    load("x", args.base)
"""


def test_a_tower_made_in_two_ways_depends_on_neither_of_them(tree):
    entry = entries(tree({"evaluate.py": TOWER}))["evaluate.py"]
    assert (entry.language_model, entry.vision_tower) == ("off", "depends")
    assert "base" not in entry.depends_on


@pytest.mark.parametrize(("name", "vision"), [("org/QuickViT-6B", "on"), ("org/clip-large", "off")])
def test_the_tower_that_a_script_names_decides(name, vision, tree):
    files = {"evaluate.py": TOWER, "a.sh": f"python evaluate.py --vision_tower {name}\n"}
    assert entries(tree(files))["a.sh"].vision_tower == vision


SWITCHED = """\
import argparse

from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--chunks", default=1)
parser.add_argument("--attn_imple", default="eager")
args = parser.parse_args()
AutoModelForCausalLM.from_pretrained("x", attn_implementation=args.attn_imple)
"""
COUNTS = """\
GPUS=(0 1)
CHUNKS=${#GPUS[@]}
python evaluate.py --chunks out/${CHUNKS} --attn_imple flash_attention_2 # on
"""


@pytest.mark.parametrize("padding", [b"", b"\0" * 40])
def test_a_script_that_counts_its_gpus_or_is_padded_is_read_to_its_end(padding, tree):
    files = {"evaluate.py": SWITCHED, "a.sh": COUNTS.encode() + padding}
    found = entries(tree(files))
    assert (found["evaluate.py"].flash, found["evaluate.py"].default) == ("depends", "off")
    assert found["a.sh"].flash == "on"
