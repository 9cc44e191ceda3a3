"""What the patch must not change, what it changes, and that doing it twice changes nothing more."""

# ruff: noqa: E501 - a snippet is easier to read on one line
from __future__ import annotations

import ast

import pytest
from snippets import SNIPPETS

from attnswitch.source import patch, scan

UNTOUCHED = {
    "a docstring that mentions it": '"""attn_implementation="flash_attention_2"."""\n',
    "a literal behind the project's own switch": (
        "def f(k, use_flash_attn=False):\n    if use_flash_attn:\n"
        "        k['attn_implementation'] = 'flash_attention_2'\n"
    ),
    "an import that is guarded": "try:\n    import flash_attn\nexcept ImportError:\n    flash_attn = None\n",
    "an import inside a function": "def f():\n    import flash_attn\n    return flash_attn\n",
    "sdpa and eager are no FlashAttention": "load(attn_implementation='sdpa')\nload(attn_implementation='eager')\n",
    "a switch that is off": "load(use_flash_attn=False, disable_flash_attn=True)\n",
    "an option the project has": "p.add_argument('--attn_implementation', default='flash_attention_2')\n",
    "an import whose names build a class": "from flash_attn import Base\nclass A(Base):\n    pass\n",
    "an import of everything": "from flash_attn import *\n",
    "an import with a fallback": (
        "try:\n    from flash_attn import a\nexcept ImportError:\n    from other import a\n"
    ),
    "os is somebody else's name": "def f(os):\n    return load(attn_implementation='flash_attention_2')\n",
    "a test that checks the spelling": (
        "def f(a):\n    if a not in ['flash', 'torch']:\n        raise ValueError(a)\n"
    ),
    "a Python configuration": "model = dict(use_flash_attn=True)\n",
}
CHANGES = {
    "a literal, from the environment": (
        "load(attn_implementation='flash_attention_2')  # fast\n",
        '\'flash_attention_2\' if os.environ.get("USE_FLASH_ATTENTION", "1").lower() '
        'not in ("0", "false") else \'eager\')  # fast',
    ),
    "a boolean": ("load(use_flash_attn=True)\n", "use_flash_attn=os.environ.get("),
    "a boolean upside down": (
        "load(disable_flash_attn2=False)\n",
        "disable_flash_attn2=not (os.environ.get(",
    ),
    "a default": (
        "def load(path, attn_implementation='flash_attention_2'):\n    go(attn_implementation)\n",
        "attn_implementation='flash_attention_2' if os.environ.get(",
    ),
    "an import": (
        "from flash_attn import a as b, c  # kernels\n\ndef f():\n    return b, c\n",
        "try:\n    from flash_attn import a as b, c  # kernels\nexcept ImportError:\n    b = c = None",
    ),
    "an assertion": (
        "def f(c):\n    assert c.attn_implementation == 'flash_attention_2', 'no'\n",
        'assert not (os.environ.get("USE_FLASH_ATTENTION", "1").lower() not in ("0", "false")) or '
        "(c.attn_implementation == 'flash_attention_2'), 'no'",
    ),
    "a raised demand": (
        "def f(c):\n    if not c.use_flash_attn:\n        raise ValueError\n",
        "and (not c.use_flash_attn):",
    ),
    "a config write": (
        "def f(c):\n    c._attn_implementation = 'flash_attention_2'\n",
        "c._attn_implementation = 'flash_attention_2' if ",
    ),
}


def text_of(root, name="m.py"):
    return (root / name).read_text()


@pytest.mark.parametrize("reason", UNTOUCHED)
def test_is_left_alone(reason, tree):
    root = tree({"m.py": UNTOUCHED[reason]})
    result = patch(root)
    assert result.changed == [] and result.failed == []


@pytest.mark.parametrize("what", CHANGES)
def test_becomes_a_parameter(what, tree):
    before, expected = CHANGES[what]
    root = tree({"m.py": before})
    patch(root).write()
    after = text_of(root)
    ast.parse(after)
    assert expected in after
    assert patch(root).changed == [], "a second patch must find nothing to do"


@pytest.mark.parametrize("name", SNIPPETS)
def test_patched_twice_is_patched_once(name, tree):
    root = tree({"m.py": SNIPPETS[name]})
    patch(root).write()
    assert patch(root).diff() == ""
    assert scan(root).hard_coded() == []


def test_the_option_goes_into_the_dataclass_and_overrules_the_caller(tree):
    root = tree({"m.py": SNIPPETS["keyword_through_train"]})
    result = patch(root)
    assert result.changed[0].rules == ("option_field", "overrule")
    added = [x[1:] for x in result.diff().splitlines() if x.startswith("+") and "+++" not in x]
    assert added[0].startswith("    use_flash_attention: bool = field(default=True")
    assert added[1:] == [
        "    if not training_args.use_flash_attention:",
        '        attn_implementation = "eager"',
    ]
    assert not [x for x in result.diff().splitlines() if x.startswith("-") and "---" not in x]


def test_the_option_goes_into_the_parser(tree):
    root = tree({"m.py": SNIPPETS["argparse_literal"]})
    patch(root).write()
    text = text_of(root)
    assert 'parser.add_argument("--use-flash-attention"' in text
    assert "'flash_attention_2' if args.use_flash_attention else 'eager'" in text
    assert text.index('add_argument("--use-flash') < text.index("parse_args()")


def test_the_patched_parser_takes_yes_and_no(tree, monkeypatch):
    root = tree({"m.py": SNIPPETS["argparse_literal"]})
    patch(root).write()
    source = text_of(root).replace("from transformers import AutoModelForCausalLM", SPY)
    for flags, expected in (
        ([], "flash_attention_2"),
        (["--use-flash-attention", "false"], "eager"),
    ):
        monkeypatch.setattr("sys.argv", ["m.py", *flags])
        namespace = {"__name__": "__main__"}
        exec(compile(source, "m.py", "exec"), namespace)
        assert namespace["asked"] == [expected]


SPY = """
asked = []
class AutoModelForCausalLM:
    @staticmethod
    def from_pretrained(path, attn_implementation=None):
        asked.append(attn_implementation)
"""


def test_the_variable_decides_where_there_are_no_options(tree, monkeypatch):
    root = tree(
        {"m.py": "asked = dict(attn_implementation='flash_attention_2')\n\ndef f(): pass\n"}
    )
    patch(root).write()
    for value, expected in (
        (None, "flash_attention_2"),
        ("0", "eager"),
        ("1", "flash_attention_2"),
    ):
        monkeypatch.delenv("USE_FLASH_ATTENTION", raising=False)
        if value is not None:
            monkeypatch.setenv("USE_FLASH_ATTENTION", value)
        namespace: dict = {}
        exec(text_of(root), namespace)
        assert namespace["asked"]["attn_implementation"] == expected


def test_a_monkey_patch_goes_behind_the_variable(tree):
    root = tree({"train_mem.py": SNIPPETS["monkey_patch"]})
    patch(root).write()
    text = text_of(root, "train_mem.py")
    assert 'not in ("0", "false"):\n    replace_llama_attn_with_flash_attn()\n' in text
    assert "unpad_input = pad_input = None" in text


def test_dead_code_is_removed_on_request_only(tree):
    files = {
        "pkg/old_patch.py": "import t\n\ndef go():\n    t.LlamaAttention.forward = flash_forward\n",
        "run.py": "def main(): pass\nif __name__ == '__main__':\n    main()\n",
    }
    root = tree(files)
    kept = patch(root)
    assert kept.changed == [] and "dead code" in kept.untouched[0].reason
    patch(root, remove_dead=True).write()
    assert not (root / "pkg/old_patch.py").exists() and (root / "run.py").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfload(attn_implementation='flash_attention_2')\r\n\r\ndef f(): pass\r\n",
        "# -*- coding: latin-1 -*-\n# é\nload(attn_implementation='flash_attention_2')\ndef f(): pass\n".encode(
            "latin-1"
        ),
        b"def f():\n\tload(attn_implementation='flash_attention_2')\n",
        b"def f(): load(attn_implementation='flash_attention_2')",
    ],
    ids=["mark and crlf", "latin-1", "tabs", "no newline at the end"],
)
def test_bytes_around_the_change_are_kept(data, tree):
    root = tree({"m.py": data})
    result = patch(root)
    for change in result.changed:
        assert change.after is not None
        after = change.after.replace(b"import os\r\n", b"").replace(b"import os\n", b"")
        head, _, tail = data.partition(b"'flash_attention_2'")
        assert after.startswith(head) and after.endswith(tail)
    assert result.changed or result.failed


def test_the_diff_applies(tree, tmp_path_factory):
    import subprocess

    root = tree({"pkg/m.py": SNIPPETS["monkey_patch"], "pkg/n.py": SNIPPETS["asserts"]})
    result = patch(root)
    done = subprocess.run(
        ["git", "apply", "-p1", "-"], input=result.diff().encode(), cwd=root, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    for change in result.changed:
        assert (root / change.path).read_bytes() == change.after
