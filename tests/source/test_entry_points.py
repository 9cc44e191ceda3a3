"""What each program gets: on, off, or depends."""

from __future__ import annotations

import pytest
from results import entries
from snippets import SNIPPETS

BUILDER = """\
from transformers import AutoModelForCausalLM, CLIPVisionModel


def load_pretrained_model(path, use_flash_attn=False, **kwargs):
    kwargs = {"device_map": "auto", **kwargs}
    if use_flash_attn:
        kwargs["attn_implementation"] = "flash_attention_2"
    CLIPVisionModel.from_pretrained("clip")
    return AutoModelForCausalLM.from_pretrained(path, **kwargs)
"""
WORKER = """\
import argparse
from pkg.builder import load_pretrained_model


class Worker:
    def __init__(self, path, use_flash_attn=False):
        self.model = load_pretrained_model(path, use_flash_attn=use_flash_attn)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--use-flash-attn", action="store_true")
    args = parser.parse_args()
    Worker("x", use_flash_attn=args.use_flash_attn)
"""
CLI = """\
from pkg.builder import load_pretrained_model


def main():
    return load_pretrained_model("x")


if __name__ == "__main__":
    main()
"""
PROJECT = {"pkg/__init__.py": "", "pkg/builder.py": BUILDER, "pkg/serve/worker.py": WORKER,
           "pkg/serve/cli.py": CLI}  # fmt: skip


def test_off_where_nothing_asks(tree):
    entry = entries(tree(PROJECT))["pkg/serve/cli.py"]
    assert (entry.flash, entry.kind) == ("off", "inference")
    assert entry.sdpa, "PyTorch's own kernel may still run, and that is said"


def test_depends_on_an_option_and_names_it(tree):
    entry = entries(tree(PROJECT))["pkg/serve/worker.py"]
    assert (entry.flash, entry.default) == ("depends", "off")
    assert entry.depends_on == ["use_flash_attn"]
    assert (entry.language_model, entry.vision_tower) == ("depends", "off")
    assert str(entry.decided_by[0]) == "pkg/builder.py:7"
    assert "--use-flash-attn" in entry.turn_off


def test_a_script_that_gives_the_flag_is_on(tree):
    script = "#!/bin/bash\npython -m pkg.serve.worker \\\n    --use-flash-attn\n"
    entry = entries(tree({**PROJECT, "run.sh": script}))["run.sh"]
    assert (entry.flash, entry.launches) == ("on", "pkg/serve/worker.py")


def test_a_script_without_the_flag_gets_the_default(tree):
    entry = entries(tree({**PROJECT, "run.sh": "torchrun pkg/serve/worker.py\n"}))["run.sh"]
    assert entry.flash == "off"


def test_a_dataclass_option_with_flash_as_default(tree):
    text = (
        SNIPPETS["keyword_through_train"]
        .replace(
            "    cache_dir: str",
            '    attn_implementation: str = field(default="flash_attention_2")\n    cache_dir: str',
        )
        .replace(
            "attn_implementation=attn_implementation",
            "attn_implementation=training_args.attn_implementation",
        )
    )
    root = tree({"train.py": text, "a.sh": "deepspeed train.py --attn_implementation sdpa\n"})
    found = entries(root)
    assert (found["train.py"].flash, found["train.py"].default) == ("depends", "on")
    assert found["a.sh"].flash == "off"


def test_on_through_a_function_that_is_handed_a_literal(tree):
    entry = entries(tree({"train.py": SNIPPETS["keyword_through_train"]}))["train.py"]
    assert (entry.flash, entry.kind) == ("on", "training")
    assert [str(at) for at in entry.decided_by] == ["train.py:21"]


def test_on_through_a_monkey_patch_and_cannot_start_without_the_package(tree):
    entry = entries(tree({"train_mem.py": SNIPPETS["monkey_patch"]}))["train_mem.py"]
    assert entry.flash == "on"
    assert [at.line for at in entry.needs_package] == [2, 3]


def test_a_vision_tower_that_overrules_is_told_apart(tree):
    entry = entries(tree({"clip_eval.py": SNIPPETS["config_writes"]}))["clip_eval.py"]
    assert entry.flash == "on"


def test_depends_on_the_package(tree):
    text = (
        "from transformers import AutoModelForCausalLM\n"
        "from transformers.utils import is_flash_attn_2_available\n"
        "a = 'flash_attention_2' if is_flash_attn_2_available() else 'eager'\n"
        "model = AutoModelForCausalLM.from_pretrained('x', attn_implementation=a)\n"
        "print(model.generate(1))\n"
    )
    entry = entries(tree({"infer.py": text}))["infer.py"]
    assert entry.flash == "depends"
    assert entry.depends_on == ["flash_attn is installed"]


def test_conditions_that_make_no_difference_are_dropped(tree):
    text = (
        "import argparse\nfrom transformers import AutoModelForCausalLM as A\n"
        "p = argparse.ArgumentParser()\np.add_argument('--base')\nargs = p.parse_args()\n"
        "if args.base is not None:\n"
        "    m = A.from_pretrained(args.base, attn_implementation='flash_attention_2')\n"
        "else:\n    m = A.from_pretrained('x', attn_implementation='flash_attention_2')\n"
    )
    assert entries(tree({"run.py": text}))["run.py"].flash == "on"


@pytest.mark.parametrize("launcher", [
    "deepspeed --num_gpus 8 {}", "torchrun --nproc_per_node=8 {}", "accelerate launch {}",
    "CUDA_VISIBLE_DEVICES=0 python3 {} &", "srun python -u {}", "python -m train",
])  # fmt: skip
def test_launchers(launcher, tree):
    root = tree(
        {"train.py": SNIPPETS["keyword_through_train"], "a.sh": launcher.format("train.py") + "\n"}
    )
    assert entries(root)["a.sh"].flash == "on"


def test_a_variable_of_the_script_reaches_the_program(tree):
    text = (
        "import os\nfrom transformers import AutoModelForCausalLM\n"
        "impl = 'flash_attention_2' if os.environ.get('USE_FLASH_ATTN') == '1' else 'eager'\n"
        "m = AutoModelForCausalLM.from_pretrained('x', attn_implementation=impl)\nprint(m.eval())\n"
    )
    found = entries(tree({"run.py": text, "a.sh": "USE_FLASH_ATTN=1 python run.py\n"}))
    assert (found["run.py"].flash, found["a.sh"].flash) == ("depends", "on")


@pytest.mark.parametrize(
    ("pin", "may_run"), [("4.31.0", False), ("4.36.2", True), ("5.1.0", True), (None, True)]
)
def test_sdpa_is_spoken_of_only_where_transformers_uses_it(pin, may_run, tree):
    files = dict(PROJECT)
    if pin:
        files["requirements.txt"] = f"torch\ntransformers=={pin}\n"
    entry = entries(tree(files))["pkg/serve/cli.py"]
    assert entry.sdpa is may_run
    assert ("may still run its own" in entry.because) is may_run


def test_a_configuration_that_switches_itself_on_depends_on_the_package(tree):
    text = (
        "from transformers import AutoConfig, PretrainedConfig, PreTrainedModel\n"
        "class MyConfig(PretrainedConfig):\n"
        "    def __init__(self, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        try:\n"
        "            import flash_attn\n"
        '            self._attn_implementation = "flash_attention_2"\n'
        "        except ImportError:\n"
        "            pass\n"
        "class MyModel(PreTrainedModel):\n"
        "    config_class = MyConfig\n"
        'if __name__ == "__main__":\n'
        '    MyModel.from_pretrained("x")\n'
    )
    entry = entries(tree({"run.py": text}))["run.py"]
    assert (entry.flash, entry.depends_on) == ("depends", ["flash_attn is installed"])


def test_an_option_that_is_dropped_on_one_way_is_told(tree):
    text = (
        "import argparse\nfrom transformers import AutoModelForCausalLM as A\n"
        "def train(attn_implementation=None):\n"
        "    p = argparse.ArgumentParser()\n    p.add_argument('--tower')\n"
        "    args = p.parse_args()\n"
        "    if args.tower is not None:\n        m = A.from_pretrained('a')\n"
        "    else:\n        m = A.from_pretrained('b', attn_implementation=attn_implementation)\n"
        "    return m\n"
        "if __name__ == '__main__':\n    train(attn_implementation='flash_attention_2')\n"
    )
    entry = entries(tree({"train_mem.py": text}))["train_mem.py"]
    assert (entry.flash, entry.depends_on) == ("depends", ["tower is None"])
