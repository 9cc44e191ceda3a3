"""What programs get whose models the tree builds itself, without a loading function."""

from __future__ import annotations

import pytest
from results import entries

from attnswitch.source import scan

FLAG = """\
try:
    from flash_attn import flash_attn_func
    USE_FLASH_ATTENTION = True
except ImportError:
    USE_FLASH_ATTENTION = False
"""
ATTENDS = """\
import torch
from package.flags import USE_FLASH_ATTENTION
if USE_FLASH_ATTENTION:
    from flash_attn import flash_attn_func


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.flash = USE_FLASH_ATTENTION

    def forward(self, q, k, v):
        if self.flash:
            return flash_attn_func(q, k, v)
        return q @ k @ v


class Transformer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention()

    def forward(self, q, k, v):
        return self.attention(q, k, v)
"""
PLAIN = """\
import torch


class Transformer(torch.nn.Module):
    def forward(self, q, k, v):
        return q @ k @ v
"""
META = """\
import importlib
import torch


class MetaModel(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        module = importlib.import_module(f"package.models.{kind}")
        self.model = module.Transformer()

    def forward(self, q, k, v):
        return self.model(q, k, v)
"""
START = """\
import argparse
{path}
from {package}meta import MetaModel

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", default="one")
    MetaModel(parser.parse_args().kind).cuda()
"""
PACKAGE = {
    "package/__init__.py": "",
    "package/flags.py": FLAG,
    "package/meta.py": META,
    "package/models/__init__.py": "",
}


def start(path="", package="package."):
    return START.replace("{path}", path).replace("{package}", package)


@pytest.mark.parametrize(
    ("models", "flash"),
    [
        ({"one": ATTENDS, "two": ATTENDS}, "depends"),
        ({"one": PLAIN, "two": ATTENDS}, "depends"),
        ({"one": PLAIN, "two": PLAIN}, "off"),
        ({f"m{i}": ATTENDS for i in range(20)}, "depends"),
    ],
    ids=["all", "one", "none", "many"],
)
def test_a_module_imported_by_a_name_is_one_of_its_package(models, flash, tree):
    files = {f"package/models/{name}.py": text for name, text in models.items()}
    entry = entries(tree({**PACKAGE, **files, "train.py": start()}))["train.py"]
    assert (entry.flash, entry.language_model) == (flash, flash)
    assert ("flash_attn is installed" in entry.depends_on) == (flash == "depends")


def test_what_such_a_module_holds_is_live(tree):
    files = {"package/models/one.py": ATTENDS, "package/models/two.py": ATTENDS}
    found = scan(tree({**PACKAGE, **files, "train.py": start()})).findings
    calls = [f for f in found if f.mechanism == "flash-call"]
    assert [f.status for f in calls] == ["live", "live"]


def test_a_name_of_which_only_the_hole_is_known_imports_nothing(tree):
    files = {**PACKAGE, "package/models/one.py": ATTENDS, "train.py": start()}
    files["package/meta.py"] = META.replace("package.models.{kind}", "{kind}")
    assert entries(tree(files))["train.py"].flash == "off"


@pytest.mark.parametrize(
    ("path", "flash"),
    [
        ("import sys; sys.path.append(os.path.join(root(), 'package'))", "depends"),
        ("import sys; sys.path.insert(0, '../package/')", "depends"),
        ("# sys.path.append('package')", "off"),
        ("import sys; sys.path.append('another')", "off"),
    ],
)
def test_imports_are_looked_for_where_the_script_adds_to_their_path(path, flash, tree):
    files = {**PACKAGE, "package/models/one.py": ATTENDS}
    files["evaluation/run.py"] = start(path, package="")
    assert entries(tree(files))["evaluation/run.py"].flash == flash


EXPORTED = """\
import torch
from flash_attn import flash_attn_func
MODELS = {}


def export(function):
    MODELS[function.__name__] = function
    return function


def timed(function):
    return function


class Attention(torch.nn.Module):
    def forward(self, q, k, v):
        return flash_attn_func(q, k, v)


@{decorator}
def large(**others):
    return Attention(**others)
"""
PICKS = """\
import argparse
from models import MODELS

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=list(MODELS))
    MODELS[parser.parse_args().model](size=3)
"""


@pytest.mark.parametrize(("decorator", "flash"), [("export", "on"), ("timed", "off")])
def test_a_table_may_be_filled_by_a_decorator_of_any_name(decorator, flash, tree):
    files = {"models.py": EXPORTED.replace("{decorator}", decorator), "train.py": PICKS}
    assert entries(tree(files))["train.py"].flash == flash


BACKBONE = """\
from transformers import LlamaForCausalLM


class Backbone:
    def __init__(self, path, use_flash_attention_2=True):
        self.llm = LlamaForCausalLM.from_pretrained(
            path, use_flash_attention_2=use_flash_attention_2
        )
"""
TABLE = """\
from backbone import Backbone

BACKBONES = {{
{rows}
}}


def get_backbone(name):
    row = BACKBONES[name]
    return row["cls"](name, **row["kwargs"])
"""
FROM_TABLE = """\
import sys
from table import get_backbone

if __name__ == "__main__":
    get_backbone(sys.argv[1])
"""


@pytest.mark.parametrize("rows", [2, 20])
@pytest.mark.parametrize(
    ("given", "flash"), [("", "on"), ("'use_flash_attention_2': False", "off")]
)
def test_rows_of_a_table_may_be_dictionaries_that_hold_the_class(rows, given, flash, tree):
    row = '    "{i}": {{"cls": Backbone, "kwargs": {{{given}}}}},'
    text = "\n".join(row.format(i=i, given=given) for i in range(rows))
    files = {"backbone.py": BACKBONE, "table.py": TABLE.format(rows=text), "run.py": FROM_TABLE}
    assert entries(tree(files))["run.py"].flash == flash


FAMILY = """\
from dataclasses import dataclass
import draccus
from transformers import AutoModelForCausalLM


@dataclass
class RunConfig:
    family: str = "llava"


@draccus.wrap()
def run(cfg: RunConfig):
    if cfg.family == "{asked}":
        AutoModelForCausalLM.from_pretrained("x", attn_implementation="flash_attention_2")
    else:
        {other}


if __name__ == "__main__":
    run()
"""
LOADS_PLAINLY = 'AutoModelForCausalLM.from_pretrained("x")'


@pytest.mark.parametrize(
    ("asked", "other", "flash", "default"),
    [
        ("llava", "raise ValueError(cfg.family)", "on", "on"),
        ("phi", "raise ValueError(cfg.family)", "depends", "off"),
        ("llava", LOADS_PLAINLY, "depends", "on"),
    ],
)
def test_an_option_that_has_to_keep_its_default_decides_nothing(asked, other, flash, default, tree):
    text = FAMILY.replace("{asked}", asked).replace("{other}", other)
    entry = entries(tree({"run.py": text}))["run.py"]
    assert (entry.flash, entry.default) == (flash, default)


CONVERTS = """\
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel


class OwnConfig(PretrainedConfig):
    pass


class OwnModel(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.llm = AutoModelForCausalLM.from_config(
            config.text_config, attn_implementation=config._attn_implementation
        )


if __name__ == "__main__":
    {makes}
    OwnModel(config).save_pretrained("out")
"""


@pytest.mark.parametrize(
    ("makes", "flash"),
    [
        ("config = OwnConfig(size=3)", "off"),
        ("config = OwnConfig(attn_implementation='flash_attention_2')", "on"),
        (
            "config = OwnConfig(size=3); config._attn_implementation = 'flash_attention_2'",
            "on",
        ),
        ("config = OwnConfig(**read('x'))", "depends"),
        ("config = OwnConfig.from_pretrained('x')", "depends"),
    ],
)
def test_a_configuration_that_the_program_makes_asks_for_what_it_is_given(makes, flash, tree):
    text = CONVERTS.replace("{makes}", makes)
    assert entries(tree({"convert.py": text}))["convert.py"].flash == flash


BY_NAME = """\
import argparse
import models

parser = argparse.ArgumentParser()
parser.add_argument("--family", default="dense")


class Wrapped:
    def __init__(self, family):
        made = models.__dict__[family].Model
        self.model = made()

    def forward(self, q):
        return self.model(q)


if __name__ == "__main__":
    Wrapped(parser.parse_args().family)
"""
DENSE = """\
from flash_attn import flash_attn_func


class Model:
    def forward(self, q):
        return flash_attn_func(q, q, q)
"""


@pytest.mark.parametrize(
    ("imports", "flash"),
    [
        ("import os\nfrom . import dense\n", "on"),
        ("from . import dense, plain\n", "depends"),
        ("from . import plain\n", "off"),
    ],
)
def test_what_a_module_binds_is_found_by_a_name_that_is_not_known(imports, flash, tree):
    files = {
        "models/__init__.py": imports,
        "models/dense.py": DENSE,
        "models/plain.py": "class Model:\n    def forward(self, q):\n        return q\n",
        "train.py": BY_NAME,
    }
    entry = entries(tree(files))["train.py"]
    assert entry.flash == flash
    assert any("family" in text for text in entry.depends_on) == (flash == "depends")


def test_a_module_that_binds_its_own_names_is_followed_to_the_end(tree):
    files = {
        "models/__init__.py": "import models\nfrom . import dense\n\nTABLE = models.__dict__\n",
        "models/dense.py": DENSE,
        "train.py": BY_NAME,
    }
    entry = entries(tree(files))["train.py"]
    assert entry.flash == "depends" and "too large" not in entry.because
