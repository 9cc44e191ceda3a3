"""What programs get whose models the tree builds itself, without a loading function."""

from __future__ import annotations

import pytest

from attnswitch.source import scan


def entries(root):
    return {e.path: e for e in scan(root).entry_points}


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
