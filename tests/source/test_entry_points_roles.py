"""Which part of a model a load, a kernel or a registered class belongs to."""

from __future__ import annotations

import pytest
from results import entries

LANGUAGE = """\
from flash_attn import flash_attn_func
from transformers import AutoModel, PretrainedConfig, PreTrainedModel


class DenseConfig(PretrainedConfig):
    model_type = "dense"


class DenseModel(PreTrainedModel):
    def forward(self, q):
        return flash_attn_func(q, q, q)


AutoModel.register(DenseConfig, DenseModel)
"""
TOWER = """\
from transformers import AutoModel


class HFVisionTower:
    def __init__(self, vision_tower):
        self.vision_tower = AutoModel.from_pretrained(vision_tower, trust_remote_code=True)
"""


def test_a_registered_language_model_is_no_tower(tree):
    files = {
        "dense.py": LANGUAGE,
        "vision_tower.py": TOWER,
        "infer.py": (
            "import dense\nfrom vision_tower import HFVisionTower\n"
            "from transformers import AutoModel\n\n"
            'if __name__ == "__main__":\n'
            '    HFVisionTower("x")\n    AutoModel.from_pretrained("y")\n'
        ),
    }
    entry = entries(tree(files))["infer.py"]
    assert (entry.language_model, entry.vision_tower) == ("on", "off")


@pytest.mark.parametrize(
    ("attention", "vision"),
    [("torch.nn.MultiheadAttention(8, 2)", "off"), ("Block()", "on")],
)
def test_an_object_that_is_called_is_no_method_of_that_name(attention, vision, tree):
    files = {
        "blocks.py": (
            "from flash_attn import flash_attn_func\n\n\nclass Block:\n"
            "    def attention(self, q):\n        return flash_attn_func(q, q, q)\n\n"
            "    def forward(self, q):\n        return self.attention(q)\n"
        ),
        "siglip_vit.py": (
            "import torch\nfrom blocks import Block\n\n\nclass Head:\n    def __init__(self):\n"
            f"        self.attention = {attention}\n\n"
            "    def forward(self, x):\n        return self.attention(x)\n"
        ),
        "infer.py": (
            "from siglip_vit import Head\nfrom transformers import AutoModelForCausalLM\n\n"
            'if __name__ == "__main__":\n'
            '    AutoModelForCausalLM.from_pretrained("x")\n    Head()\n'
        ),
    }
    entry = entries(tree(files))["infer.py"]
    assert (entry.language_model, entry.vision_tower) == ("off", vision)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("LlavaForMaskedDiffusion", "inference"),
        ("StableDiffusionPipeline", "tool"),
        ("DiffusionPipeline", "tool"),
    ],
)
def test_a_language_model_may_be_trained_by_masked_diffusion(name, kind, tree):
    text = (
        f"from models import {name}\n\n"
        f'if __name__ == "__main__":\n    {name}.from_pretrained("x")\n'
    )
    assert entries(tree({"infer.py": text}))["infer.py"].kind == kind


SPEECH = """\
from transformers import Qwen2ForCausalLM


class SpeechGenerator:
    def __init__(self):
        self.llm = Qwen2ForCausalLM.from_pretrained("small"{kernel})
        self.short = Qwen2ForCausalLM.from_pretrained("smaller"{kernel})
"""
OMNI = """\
from speech_generator import SpeechGenerator
from transformers import AutoModelForCausalLM


class Omni(AutoModelForCausalLM):
    def __init__(self, config):
        self.speech = SpeechGenerator()


if __name__ == "__main__":
    {main}
"""
ASKS = ', attn_implementation="flash_attention_2"'


@pytest.mark.parametrize(
    ("kernel", "main", "flash"),
    [
        ("", f'Omni.from_pretrained("x"{ASKS})', "on"),  # and the speaker is no rival
        ("", 'Omni.from_pretrained("x")', "off"),
        (ASKS, 'Omni.from_pretrained("x")', "on"),
        (ASKS, "SpeechGenerator()", "on"),
        ("", "SpeechGenerator()", "off"),
    ],
)
def test_a_part_that_speaks_is_no_other_language_model(kernel, main, flash, tree):
    files = {
        "speech_generator.py": SPEECH.replace("{kernel}", kernel),
        "infer.py": OMNI.replace("{main}", main),
    }
    entry = entries(tree(files))["infer.py"]
    assert (entry.flash, entry.language_model, entry.vision_tower) == (flash, flash, "off")
    assert entry.kind == "inference"


@pytest.mark.parametrize(
    ("line", "flash"),
    [("from transformers import AutoModel", "off"), ("from .steps import AutoModel", "on")],
)
def test_a_script_inside_a_package_does_not_import_it(line, flash, tree):
    files = {
        "p/__init__.py": (
            "import transformers\n\n\ndef forward(self, q):\n"
            "    from flash_attn import flash_attn_func\n    return flash_attn_func(q, q, q)\n\n\n"
            "transformers.models.llama.modeling_llama.LlamaAttention.forward = forward\n"
        ),
        "p/steps.py": "from transformers import AutoModel\n",
        "p/generate.py": (
            f'{line}\n\nif __name__ == "__main__":\n    AutoModel.from_pretrained("x")\n'
        ),
    }
    assert entries(tree(files))["p/generate.py"].flash == flash


def test_a_program_started_as_a_module_imports_its_package(tree):
    files = {
        "p/__init__.py": (
            "import transformers\nfrom flash_attn import flash_attn_func\n\n\n"
            "def forward(self, q):\n    return flash_attn_func(q, q, q)\n\n\n"
            "transformers.models.llama.modeling_llama.LlamaAttention.forward = forward\n"
        ),
        "p/train.py": (
            "from transformers import LlamaForCausalLM\n\n"
            'if __name__ == "__main__":\n    LlamaForCausalLM.from_pretrained("x")\n'
        ),
        "a.sh": "python {how}\n",
    }
    for how, flash in (("p/train.py", "off"), ("-m p.train", "on")):
        found = entries(tree({**files, "a.sh": f"python {how}\n"}))
        assert (found["p/train.py"].flash, found["a.sh"].flash) == (flash, flash)


SEES = """\
from transformers import {tower}, AutoModelForCausalLM


class {around}:
    def __init__(self):
        self.part = {tower}.from_pretrained("a", attn_implementation="flash_attention_2")
        self.llm = AutoModelForCausalLM.from_pretrained("b", attn_implementation="eager")


if __name__ == "__main__":
    {around}()
"""


@pytest.mark.parametrize(
    ("name", "around", "tower"),
    [
        ("infer.py", "LlavaWhisper", "SiglipVisionModel"),
        ("whisper_demo.py", "Demo", "SiglipVisionModel"),
        ("audio_encoder.py", "Demo", "SiglipVisionModel"),
    ],
)
def test_a_tower_is_one_whatever_is_around_it(name, around, tower, tree):
    text = SEES.replace("{around}", around).replace("{tower}", tower)
    entry = entries(tree({name: text}))[name]
    assert (entry.language_model, entry.vision_tower) == ("off", "on")


def test_an_installed_command_of_a_package_imports_it(tree):
    files = {
        "p/__init__.py": "from p.patch import apply\n\napply()\n",
        "p/patch.py": (
            "import transformers\nfrom flash_attn import flash_attn_func\n\n\n"
            "def forward(self, q):\n    return flash_attn_func(q, q, q)\n\n\n"
            "def apply():\n"
            "    transformers.models.llama.modeling_llama.LlamaAttention.forward = forward\n"
        ),
        "p/cli.py": (
            "from transformers import LlamaForCausalLM\n\n\n"
            'def main():\n    LlamaForCausalLM.from_pretrained("x")\n'
        ),
        "pyproject.toml": '[project]\nname = "p"\n[project.scripts]\np = "p.cli:main"\n',
    }
    assert entries(tree(files))["p/cli.py"].flash == "on"
