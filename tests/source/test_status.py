"""Live, dead or unknown, followed from the programs of a tree."""

from __future__ import annotations

import pytest

from attnswitch.source import scan

PATCH = "import t\n\ndef replace():\n    t.LlamaAttention.forward = flash_forward\n"
MAIN = 'if __name__ == "__main__":\n    main()\n'


def statuses(root):
    return {(f.path, f.line): f.status for f in scan(root).findings}


def test_dead_when_no_program_imports_it(tree):
    root = tree({"pkg/patch.py": PATCH, "pkg/train.py": "def main(): pass\n" + MAIN})
    assert statuses(root) == {("pkg/patch.py", 4): "dead"}


def test_live_through_imports_and_calls(tree):
    root = tree(
        {
            "pkg/__init__.py": "",
            "pkg/patch.py": PATCH,
            "pkg/train.py": "from pkg.patch import replace\ndef main():\n    replace()\n" + MAIN,
        }
    )
    assert statuses(root)[("pkg/patch.py", 4)] == "live"


def test_dead_when_imported_but_never_called(tree):
    root = tree(
        {
            "pkg/__init__.py": "",
            "pkg/patch.py": PATCH,
            "pkg/train.py": "import pkg.patch\ndef main(): pass\n" + MAIN,
        }
    )
    assert statuses(root)[("pkg/patch.py", 4)] == "dead"


def test_live_through_a_package_that_imports_all_its_modules(tree):
    root = tree(
        {
            "pkg/__init__.py": "from util import import_modules\nimport_modules(__file__)\n",
            "pkg/llm.py": "import flash_attn\n",
            "run.py": "import pkg\ndef main(): pass\n" + MAIN,
        }
    )
    assert statuses(root)[("pkg/llm.py", 1)] == "live"


def test_unknown_in_a_tree_without_programs(tree):
    assert statuses(tree({"patch.py": PATCH})) == {("patch.py", 4): "unknown"}


def test_dead_behind_a_constant_test_or_a_return(tree):
    text = (
        "def main():\n    if False:\n        load(use_flash_attn=True)\n    return 1\n"
        "    load(use_flash_attn=True)\n" + MAIN
    )
    assert set(statuses(tree({"m.py": text})).values()) == {"dead"}


def test_a_python_configuration_is_unknown_and_not_hard_coded(tree):
    root = tree(
        {
            "configs/a.py": "model = dict(use_flash_attn=True)\n",
            "run.py": "def main(): pass\n" + MAIN,
        }
    )
    result = scan(root)
    assert [f.status for f in result.findings] == ["unknown"]
    assert result.hard_coded() == []


@pytest.mark.parametrize("root", ["lib/pkg", "lib"])
def test_a_package_is_known_by_its_own_name(root, tree):
    """An installed package is scanned by its folder; its modules import each other by name."""
    files = {
        "lib/pkg/__init__.py": "",
        "lib/pkg/train/__init__.py": "",
        "lib/pkg/train/builder.py": (
            "from transformers import AutoModel\n\n\ndef build():\n"
            "    return AutoModel.from_pretrained('x', attn_implementation='flash_attention_2')\n"
        ),
        "lib/pkg/train/train.py": (
            'from pkg.train.builder import build\nif __name__ == "__main__":\n    build()\n'
        ),
    }
    result = scan(tree(files) / root)
    assert [f.status for f in result.findings] == ["live"]
    assert [e.flash for e in result.entry_points] == ["on"]
