"""What each program gets where modules, registries and chains of calls stand in between."""

from __future__ import annotations

import pytest
from results import entries

LAYERS = """\
from flash_attn import flash_attn_func


class SparseFlashAttention2:
    def forward(self, q, k, v):
        return flash_attn_func(q, k, v)


class Layer:
    def forward(self, q, k, v):
        return self.{called}(q, k, v)
"""
SPARE = """\
from transformers import AutoModelForCausalLM
from layers import Layer, SparseFlashAttention2

model = AutoModelForCausalLM.from_pretrained("x")
layer = Layer()
spare = SparseFlashAttention2().half().to("cuda")
layer.add_module("spare", spare)
print(model.generate(1))
"""


@pytest.mark.parametrize(("called", "flash"), [("self_attn", "off"), ("spare", "on")])
def test_a_module_added_under_a_name_that_nothing_calls_is_never_run(called, flash, tree):
    files = {"layers.py": LAYERS.replace("{called}", called), "infer.py": SPARE}
    assert entries(tree(files))["infer.py"].flash == flash


MODELS = """\
from importlib import import_module

from harness.registry import find

for name in ("plain", "quick"):
    import_module("harness.models." + name)
"""
PLAIN = """\
from transformers import AutoModelForCausalLM
from harness.registry import register_model


@register_model("plain")
class Plain:
    def __init__(self, path="x", **kwargs):
        self.model = AutoModelForCausalLM.from_pretrained(path)
"""
QUICK = """\
from transformers import AutoModelForCausalLM
from harness.registry import register_model

try:
    import flash_attn
    best = "flash_attention_2"
except ImportError:
    best = "eager"


@register_model("quick")
class Quick:
    def __init__(self, path="x", attn_implementation=best, **kwargs):
        self.model = AutoModelForCausalLM.from_pretrained(
            path, attn_implementation=attn_implementation
        )
"""
HARNESS = {
    "harness/__init__.py": "",
    "harness/registry.py": "def register_model(name):\n    return lambda k: k\ndef find(n): ...\n",
    "harness/models/__init__.py": MODELS,
    "harness/models/plain.py": PLAIN,
    "harness/models/quick.py": QUICK,
    "harness/evaluate.py": (
        "import sys\nfrom harness.models import find\n"
        'if __name__ == "__main__":\n    print(find(sys.argv[1])())\n'
    ),
}


def test_a_program_that_picks_its_model_from_a_registry_depends_on_the_model(tree):
    found = entries(tree(HARNESS))
    entry = found["harness/evaluate.py"]
    assert (entry.flash, entry.kind) == ("depends", "evaluation")
    assert set(entry.depends_on) == {"the model quick is chosen", "flash_attn is installed"}
    assert [str(at) for at in entry.decided_by] == ["harness/models/quick.py:6"]
    assert set(found) == {"harness/evaluate.py"}, "what a registry imports is no program"


def test_a_registry_in_which_no_model_asks_is_off(tree):
    files = {**HARNESS, "harness/models/quick.py": PLAIN.replace("plain", "quick")}
    assert entries(tree(files))["harness/evaluate.py"].flash == "off"


def test_a_kernel_has_the_role_of_the_file_that_builds_it(tree):
    files = {
        "flash_attention.py": (
            "from flash_attn import flash_attn_func\n\n\nclass Inner:\n"
            "    def forward(self, q):\n        return flash_attn_func(q, q, q)\n"
        ),
        "big_vit.py": (
            "from flash_attention import Inner\n\n\nclass Backbone:\n"
            "    def __init__(self):\n        self.inner = Inner()\n"
        ),
        "infer.py": 'from big_vit import Backbone\nif __name__ == "__main__":\n    Backbone()\n',
    }
    entry = entries(tree(files))["infer.py"]
    assert (entry.vision_tower, entry.language_model) == ("on", "off")


def test_a_tower_registered_with_auto_model_is_followed(tree):
    files = {
        "navit.py": (
            "from flash_attn import flash_attn_varlen_func\n"
            "from transformers import AutoModel, PretrainedConfig, PreTrainedModel\n\n\n"
            "class VitConfig(PretrainedConfig):\n    model_type = 'navit'\n\n\n"
            "class VitModel(PreTrainedModel):\n    def forward(self, q, lengths):\n"
            "        return flash_attn_varlen_func(q, q, q, lengths, lengths)\n\n\n"
            "AutoModel.register(VitConfig, VitModel)\n"
        ),
        "model.py": (
            "import navit\nfrom transformers import AutoModel, AutoModelForCausalLM\n"
            "from transformers import PreTrainedModel\n\n\nclass Speaker(PreTrainedModel):\n"
            "    def __init__(self, config):\n"
            "        self.llm = AutoModelForCausalLM.from_config(config.llm_config)\n"
            "        self.vit = AutoModel.from_config(config.vit_config)\n"
        ),
        "infer.py": (
            'from model import Speaker\nif __name__ == "__main__":\n'
            '    print(Speaker.from_pretrained("x"))\n'
        ),
    }
    entry = entries(tree(files))["infer.py"]
    assert (entry.flash, entry.vision_tower, entry.language_model) == ("on", "on", "off")


def test_functions_handed_back_in_a_row_are_followed(tree):
    files = {
        "pick.py": (
            "import other\nfrom transformers import AutoModelForCausalLM\n\n\n"
            "def open_model(path):\n    return AutoModelForCausalLM.from_pretrained(\n"
            "        path, attn_implementation='flash_attention_2')\n\n\ndef ask(m): ...\n\n\n"
            "def by_name(name):\n    if 'other' in name:\n        return other.load, other.ask\n"
            "    return open_model, ask\n"
        ),
        "eval.py": (
            "import sys\nfrom pick import by_name\n\n\ndef main():\n"
            "    load, ask = by_name(sys.argv[1])\n    print(ask(load('x')))\n\n\n"
            'if __name__ == "__main__":\n    main()\n'
        ),
    }
    entry = entries(tree(files))["eval.py"]
    assert (entry.flash, entry.kind) == ("on", "evaluation")
    assert [str(at) for at in entry.decided_by] == ["pick.py:7"]


VISION_FOLLOWS = """\
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLVisionPreTrainedModel


class StreamQwen2VisionTransformer(Qwen2VLVisionPreTrainedModel):
    pass


class StreamModel(Qwen2VLForConditionalGeneration):
    def __init__(self, config):
        super().__init__(config)
        self.visual = StreamQwen2VisionTransformer._from_config(
            config.vision_config, attn_implementation={asked}
        )


if __name__ == "__main__":
    StreamModel.from_pretrained("x", attn_implementation="flash_attention_2")
"""


@pytest.mark.parametrize(
    ("asked", "vision"), [("config._attn_implementation", "on"), ('"eager"', "off")]
)
def test_a_vision_tower_made_with_what_the_load_asked_for_follows_it(asked, vision, tree):
    entry = entries(tree({"run_x.py": VISION_FOLLOWS.replace("{asked}", asked)}))["run_x.py"]
    assert (entry.language_model, entry.vision_tower) == ("on", vision)


def test_an_option_of_a_parser_outside_the_tree_is_an_option(tree):
    text = (
        "from flash_attn import flash_attn_func\nfrom megatron.training import get_args\n\n\n"
        "def attention(q):\n    args = get_args()\n    if not args.use_flash_attn:\n"
        "        return q\n    return flash_attn_func(q, q, q)\n\n\n"
        'if __name__ == "__main__":\n    attention(1)\n'
    )
    files = {"train.py": text, "a.sh": "python train.py --use-flash-attn\n"}
    found = entries(tree(files))
    entry = found["train.py"]
    assert (entry.flash, entry.depends_on) == ("depends", ["use_flash_attn"])
    assert found["a.sh"].flash == "on"


def test_a_model_put_into_a_table_outside_the_tree_may_be_chosen(tree):
    text = (
        "from functools import partial\nfrom transformers import AutoModelForCausalLM\n"
        "from harness.config import MODELS\n\n\nclass Quick:\n    def __init__(self, path):\n"
        "        AutoModelForCausalLM.from_pretrained(\n"
        '            path, attn_implementation="flash_attention_2"\n        )\n\n\n'
        'MODELS["quick"] = partial(Quick, path="x")\nif __name__ == "__main__":\n    pass\n'
    )
    entry = entries(tree({"evaluate.py": text}))["evaluate.py"]
    assert (entry.flash, entry.depends_on) == ("depends", ["the model Quick is chosen"])


def test_a_script_whose_name_says_nothing_is_named_by_what_it_does(tree):
    load = "from transformers import AutoModelForCausalLM, Trainer\n\n"
    load += 'model = AutoModelForCausalLM.from_pretrained("x")\n'
    files = {"x1.py": load + "model.generate(1)\n", "x2.py": load + "Trainer(model).train()\n"}
    found = entries(tree({**files, "x3.py": 'if __name__ == "__main__":\n    print(1)\n'}))
    kinds = [found[name].kind for name in ("x1.py", "x2.py", "x3.py")]
    assert kinds == ["inference", "training", "tool"]


LONG_LOADER = """\
from transformers import AutoModelForCausalLM
from longer import LongForCausalLM


def load_pretrained_model(path, model_name, **kwargs):
    if "long" in model_name.lower():
        return LongForCausalLM.from_pretrained(path, attn_implementation="flash_attention_2")
    elif "lora" in model_name.lower():
        return AutoModelForCausalLM.from_pretrained(path, adapter=True)
    return AutoModelForCausalLM.from_pretrained(path)


class Bot:
    def __init__(self, config):
        self.model = load_pretrained_model(config.path, config.name)


if __name__ == "__main__":
    Bot(read("x"))
"""
LONGER = """\
from flash_attn import flash_attn_func


class FlashAttention(Module):
    def forward(self, q):
        if q.shape[0] == 1:
            return flash_attn_func(q, q, q)
        return flash_attn_func(q, q, q, causal=True)


CLASSES = {"eager": Attention, "flash_attention_2": FlashAttention}


class LongForCausalLM(PreTrainedModel):
    def __init__(self, config):
        self.attn = CLASSES[config._attn_implementation](config)

    def forward(self, q):
        return self.attn(q)
"""


def test_one_model_of_several_with_its_own_kernels_depends_on_the_model(tree):
    files = {"chat.py": LONG_LOADER, "longer.py": LONGER, "chat.sh": "python chat.py --name x\n"}
    found = entries(tree(files))
    assert found["chat.py"].flash == found["chat.sh"].flash == "depends"
    assert found["chat.py"].depends_on == ["'long' in model_name.lower()"]


PLACEHOLDER = """\
from dataclasses import dataclass, field
from transformers import AutoModelForCausalLM, HfArgumentParser


@dataclass
class Arguments:
    model: str = field(default=None)
    vision_tower: str = field(default=None)
    attn_implementation: str = field(default="flash_attention_2")


if __name__ == "__main__":
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()
    if args.vision_tower is not None and "qwen" in args.model.lower():
        AutoModelForCausalLM.from_pretrained(
            args.model, attn_implementation=args.attn_implementation
        )
"""


def test_a_script_with_a_placeholder_for_the_model_gets_what_the_others_get(tree):
    script = "python train.py --model Your_checkpoint --vision_tower clip\n"
    entry = entries(tree({"train.py": PLACEHOLDER, "a.sh": script}))["a.sh"]
    assert entry.language_model == "on"


def test_options_in_a_quoted_text_with_quotes_inside(tree):
    options = '\n  --x 1 \\\n  --format "chat" \\\n  --use-flash-attn \\\n'
    script = f'ARGS="{options}"\n\npython train.py $ARGS\n'
    text = (
        "import argparse\nfrom transformers import AutoModelForCausalLM\n\n"
        "parser = argparse.ArgumentParser()\n"
        'parser.add_argument("--use-flash-attn", action="store_true")\n'
        "args = parser.parse_args()\n"
        "AutoModelForCausalLM.from_pretrained(\n"
        '    "x", attn_implementation="flash_attention_2" if args.use_flash_attn else "eager"\n)\n'
    )
    assert entries(tree({"train.py": text, "a.sh": script}))["a.sh"].flash == "on"


RESUMES = """\
from dataclasses import dataclass, field
from transformers import AutoModelForCausalLM, HfArgumentParser


@dataclass
class Arguments:
    resume: str = field(default=None)
    attn_implementation: str = field(default=None)


if __name__ == "__main__":
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()
    if args.resume is not None and "lora" in str(read(args.resume)):
        AutoModelForCausalLM.from_pretrained("x", attn_implementation="flash_attention_2")
    else:
        AutoModelForCausalLM.from_pretrained("x", attn_implementation=args.attn_implementation)
"""


def test_a_project_whose_option_decides_depends_on_it_though_one_path_is_fixed(tree):
    entry = entries(tree({"train.py": RESUMES}))["train.py"]
    assert (entry.flash, entry.default) == ("depends", "off")
    assert "attn_implementation = flash_attention_2" in entry.depends_on
