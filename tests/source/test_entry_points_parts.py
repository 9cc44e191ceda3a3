"""What each program gets where one thing hands on what was asked to another."""

from __future__ import annotations

import pytest
from results import entries

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


WORKERS = """\
import argparse
import ray
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--use_flash_attn", action="store_true")


class Actor:
    def __init__(self, role):
        self.role = role

    def init_model(self):
        kernel = "flash_attention_2"
        self.model = AutoModelForCausalLM.from_pretrained("x", attn_implementation=kernel)


class Critic:
    def init_model(self):
        self.model = AutoModelForCausalLM.from_pretrained("x")


if __name__ == "__main__":
    {worker}
    group = {"actor": ray.remote(worker)}
    ray.get([started(made) for made in group.values()])
"""


@pytest.mark.parametrize(
    ("worker", "flash"),
    [
        ("worker = Actor", "on"),
        ("worker = Critic", "off"),
        ("worker = Actor if parser.parse_args().use_flash_attn else Critic", "depends"),
    ],
)
def test_a_worker_of_ray_is_made_and_its_methods_are_called(worker, flash, tree):
    entry = entries(tree({"train.py": WORKERS.replace("{worker}", worker)}))["train.py"]
    assert (entry.flash, entry.kind) == (flash, "training")


@pytest.mark.parametrize("called", ["evaluate.remote", "evaluate.options(num_cpus=2).remote"])
def test_a_function_that_runs_in_another_process_is_followed(called, tree):
    entry = entries(tree({"evaluate.py": REMOTE.replace("{called}", called)}))["evaluate.py"]
    assert (entry.flash, entry.kind) == ("on", "evaluation")


PATCHED = """\
from flash_attn import flash_attn_func
from transformers import AutoModelForCausalLM
from transformers.models.llama import modeling_llama
from transformers.models.llama.modeling_llama import {owner}


def forward(self, q):
    return flash_attn_func(q, q, q)


class Own:
    def forward(self, q):
        return flash_attn_func(q, q, q)


if __name__ == "__main__":
    {patches}
    AutoModelForCausalLM.from_pretrained("x"{asked})
"""
OF_THE_CLASS = "{owner}.forward = forward"
THE_CLASS = "modeling_llama.{owner} = Own"
ASKS = ', attn_implementation="flash_attention_2"'


@pytest.mark.parametrize(
    ("patches", "owner", "asked", "flash"),
    [
        (OF_THE_CLASS, "LlamaAttention", "", "on"),
        (OF_THE_CLASS, "LlamaFlashAttention2", "", "off"),
        (OF_THE_CLASS, "LlamaFlashAttention2", ASKS, "on"),
        (THE_CLASS, "LlamaAttention", "", "on"),
        (THE_CLASS, "LlamaFlashAttention2", "", "off"),
        (THE_CLASS, "LlamaFlashAttention2", ASKS, "on"),
    ],
)
def test_a_patch_of_a_class_that_only_a_request_chooses_does_not_choose_it(
    patches, owner, asked, flash, tree
):
    text = PATCHED.replace("{patches}", patches).replace("{owner}", owner)
    text = text.replace("{asked}", asked)
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


WRAPPED = """\
import types

from transformers import AutoModelForCausalLM
from flash_attn import flash_attn_func


class Fused:
    def __init__(self, model):
        def forward(attn, q):
            return self.attend(attn, q)

        attn = model.layers[0].self_attn
        attn.forward = types.MethodType(forward, attn)

    def attend(self, attn, q):
        if attn.config._attn_implementation == "flash_attention_2":
            return flash_attn_func(q, q, q)
        return q @ q


if __name__ == "__main__":
    Fused(AutoModelForCausalLM.from_pretrained("x"{asked}))
"""


@pytest.mark.parametrize(
    ("asked", "flash"), [("", "off"), (', attn_implementation="flash_attention_2"', "on")]
)
def test_a_patch_runs_what_the_functions_it_wraps_run(asked, flash, tree):
    entry = entries(tree({"infer.py": WRAPPED.replace("{asked}", asked)}))["infer.py"]
    assert entry.flash == flash


def test_a_patch_of_the_function_behind_a_request_asks_for_nothing(tree):
    text = (
        "import transformers\n\nraw = transformers.modeling_flash_attention_utils\n\n\n"
        "def packed(*args):\n    return raw._flash_attention_forward(*args)\n\n\n"
        "transformers.modeling_flash_attention_utils._flash_attention_forward = packed\n"
        'model = transformers.AutoModelForCausalLM.from_pretrained("x")\nprint(model.generate(1))\n'
    )
    assert entries(tree({"infer.py": text}))["infer.py"].flash == "off"


SCORES = """\
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

if __name__ == "__main__":
    {model}
    AutoModelForSequenceClassification.from_pretrained("y", attn_implementation="fa2")
"""


@pytest.mark.parametrize(
    ("model", "flash"), [('AutoModelForCausalLM.from_pretrained("x")', "off"), ("pass", "on")]
)
def test_a_model_that_scores_answers_is_not_the_one_that_gives_them(model, flash, tree):
    assert entries(tree({"train.py": SCORES.replace("{model}", model)}))["train.py"].flash == flash


@pytest.mark.parametrize(
    ("name", "vision"),
    [("Qwen2VLForConditionalGeneration", "on"), ("LlavaForConditionalGeneration", "off")],
)
def test_before_all_parts_followed_some_did(name, vision, tree):
    files = {
        "infer.py": WHOLE.replace("{name}", name),
        "requirements.txt": "transformers==4.45.2\n",
    }
    assert entries(tree(files))["infer.py"].vision_tower == vision


LOADERS = {
    "loaders/__init__.py": (
        "LOADERS = {}\n\n\ndef register_loader(name):\n    def put(cls):\n"
        "        LOADERS[name] = cls\n        return cls\n    return put\n\n\n"
        "from . import small\n"
    ),
    "loaders/base.py": (
        "class Loader:\n    def __init__(self, path, use_flash_attn=False):\n"
        "        self.path = path\n        self.wanted = dict(device_map=None)\n"
        "        if use_flash_attn:\n"
        "            self.wanted['attn_implementation'] = 'flash_attention_2'\n"
    ),
    "loaders/small.py": (
        "from transformers import AutoModelForCausalLM\nfrom . import register_loader\n"
        "from .base import Loader\n\n\n@register_loader('small')\nclass Small(Loader):\n"
        "    def load(self):\n"
        "        return AutoModelForCausalLM.from_pretrained(self.path, **self.wanted)\n"
    ),
    "train.py": (
        "import argparse\nfrom loaders import LOADERS\n\nparser = argparse.ArgumentParser()\n"
        'parser.add_argument("--family")\n'
        'parser.add_argument("--use_flash_attn", action="store_true")\n'
        "args = parser.parse_args()\n"
        'LOADERS[args.family]("x", use_flash_attn=args.use_flash_attn).load()\n'
    ),
    "webui.py": (
        'import subprocess\n\nif __name__ == "__main__":\n'
        '    subprocess.Popen(["python", "train.py", "--family", "small"])\n'
    ),
}


def test_a_table_that_decorators_fill_is_followed_and_a_started_program_is_given_no_more(tree):
    found = entries(tree(LOADERS))
    assert (found["train.py"].flash, found["train.py"].default) == ("depends", "off")
    assert "use_flash_attn" in found["train.py"].depends_on
    assert found["webui.py"].flash == "off"


ACTORS = """\
import ray
from transformers import AutoModelForCausalLM


@ray.remote(num_gpus=1)
class Actor:
    def __init__(self, rank):
        self.rank = rank

    def open(self, path):
        AutoModelForCausalLM.from_pretrained(path, attn_implementation="flash_attention_2")


class Group:
    def __init__(self, kind, count):
        self.kind = kind
        self.start(count)

    def start(self, count):
        self.all = [self.kind.options(num_cpus=1).remote(i) for i in range(count)]
        first = self.kind.options(num_cpus=1).remote(0)
        self.all.append(first)

    def open(self, path):
        return [one.open.remote(path) for one in self.all]


if __name__ == "__main__":
    Group(Actor, 8).open("x")
"""


def test_actors_that_a_group_starts_are_followed(tree):
    assert entries(tree({"train.py": ACTORS}))["train.py"].flash == "on"


def test_a_command_that_a_script_keeps_in_a_document_is_read(tree):
    script = (
        "read -r -d '' command <<EOF\nevaluate \\\n   --attn_imple flash_attention_2 \\\n"
        "   --chunks 4\nEOF\n\nif true; then\n    torchrun --module $command\nfi\n"
    )
    found = entries(tree({"evaluate.py": SWITCHED, "a.sh": script}))
    assert (found["a.sh"].flash, found["a.sh"].line) == ("on", 8)


def test_classes_that_a_package_imports_by_a_text_are_found(tree):
    files = {
        "pack/__init__.py": (
            'MODELS = {"tall": "TallModel"}\nfor name, classes in MODELS.items():\n'
            '    exec(f"from .models.{name} import {classes}")\n'
        ),
        "pack/models/tall.py": (
            "from transformers import CLIPVisionModel, PreTrainedModel\n\n\n"
            "class TallModel(PreTrainedModel):\n    def __init__(self, config):\n"
            "        config._attn_implementation = 'flash_attention_2'\n"
            "        self.tower = CLIPVisionModel.from_pretrained('y', attn_implementation='fa2')\n"
        ),
        "infer.py": (
            "from pack import TallModel\n\nmodel = TallModel.from_pretrained('x')\n"
            "print(model.generate(1))\n"
        ),
    }
    entry = entries(tree(files))["infer.py"]
    assert (entry.language_model, entry.vision_tower) == ("on", "on")


POOL = """\
import functools
from multiprocessing import Pool

from transformers import AutoModelForCausalLM


def run(rank, size):
    AutoModelForCausalLM.from_pretrained("x", attn_implementation="flash_attention_2")


def main():
    filled = functools.partial(run, size=8)
    with Pool(8) as pool:
        pool.map(filled, range(8))


if __name__ == "__main__":
    main()
"""


def test_a_function_with_arguments_filled_in_is_followed_into_a_pool(tree):
    files = {"deep/evaluate.py": POOL, "a.sh": "python /deep/evaluate.py\n"}
    found = entries(tree(files))
    assert (found["deep/evaluate.py"].flash, found["a.sh"].flash) == ("on", "on")
