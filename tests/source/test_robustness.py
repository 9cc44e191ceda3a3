"""Odd trees are reported and passed over; nothing is imported or run."""

# ruff: noqa: E501 - a snippet is easier to read on one line
from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from attnswitch.errors import InputError
from attnswitch.source import patch, scan
from attnswitch.source.project import Project

FLASH = "M.from_pretrained('x', attn_implementation='flash_attention_2')\n"


def reasons(result):
    return {s.path: s.reason for s in result.skipped}


def test_odd_files_are_passed_over_with_a_reason(tree):
    root = tree(
        {
            "broken.py": "def f(:\n",
            "two.py": "print 'flash_attn'\nimport flash_attn\n",
            "binary.py": b"\x00\x01\x02" * 100,
            "big.py": "x = 'flash_attn'\n" * 330_000,
            "nested.py": "x = " + "(" * 5000 + ")" * 5000 + "\n",
            "good.py": FLASH,
        }
    )
    result = scan(root)
    found = reasons(result)
    assert [f.path for f in result.findings] == ["good.py"]
    assert "syntax error" in found["broken.py"] and "Python 2" in found["two.py"]
    assert found["binary.py"] == "binary" and "5.6 MB" in found["big.py"]
    assert "nested.py" in found


@pytest.mark.parametrize(
    "data",
    [
        ("# -*- coding: latin-1 -*-\n# é\n" + FLASH).encode("latin-1"),
        ("# é without a declaration\n" + FLASH).encode("latin-1"),
        b"\xef\xbb\xbf" + FLASH.encode(),
        FLASH.encode("utf-16"),
        ("# -*- coding: nonsense -*-\n" + FLASH).encode(),
        FLASH.replace("\n", "\r\n").encode(),
    ],
    ids=["latin-1", "undeclared", "utf-8 with a mark", "utf-16", "unknown coding", "crlf"],
)
def test_odd_encodings_are_read_or_passed_over(data, tree):
    result = scan(tree({"m.py": data}))
    assert len(result.findings) == 1 or reasons(result)


def test_links_are_not_followed(tree):
    root = tree({"a/m.py": FLASH})
    os.symlink(root, root / "a" / "loop")
    os.symlink(root / "nowhere.py", root / "gone.py")
    result = scan(root)
    assert len(result.findings) == 1
    assert set(reasons(result)) == {"a/loop", "gone.py"}


def test_circular_imports_and_recursion_end(tree):
    root = tree(
        {
            "a.py": "from b import *\nfrom b import f\ndef g(x): return f(x)\n",
            "b.py": "from a import *\nfrom a import g\ndef f(x): return g(load(use_flash_attn=x))\n",
            "run.py": "from a import g\nif __name__ == '__main__':\n    g(True)\n",
        }
    )
    assert len(scan(root).findings) == 1


def test_a_missing_path_is_an_input_error():
    with pytest.raises(InputError, match="nothing at"):
        scan("/no/such/tree")


def test_one_file_and_an_empty_tree(tree, tmp_path):
    root = tree({"m.py": FLASH})
    assert len(scan(root / "m.py").findings) == 1
    assert scan(tree({"empty/x.txt": ""}) / "empty").findings == []


def test_nothing_that_is_scanned_runs(tree, tmp_path):
    root = tree({"m.py": f"open({str(tmp_path / 'ran')!r}, 'w')\n" + FLASH})
    scan(root), patch(root)
    assert not (tmp_path / "ran").exists()


def test_scan_needs_neither_torch_nor_libcst():
    code = (
        "import sys\nfor n in ('torch', 'libcst', 'transformers', 'numpy'): sys.modules[n] = None\n"
        "from attnswitch.source import scan\nprint(len(scan(sys.argv[1]).findings))\n"
    )
    here = os.path.join(os.path.dirname(__file__), "snippets.py")
    done = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_patch_without_libcst_names_the_command(monkeypatch, tree):
    monkeypatch.setitem(sys.modules, "libcst", None)
    with pytest.raises(Exception, match=r'pip install "attnswitch\[source\]"'):
        patch(tree({"m.py": FLASH}))


@pytest.mark.slow
def test_ten_thousand_mutated_files():
    from fuzz import run

    counts = run(10_000, 0, None)
    assert counts["broken"] == counts["crashes"] == 0
    assert counts["changed"] > 100, "the mutations must leave something to patch"


def test_a_few_mutated_files():
    from fuzz import run

    counts = run(60, 7, None, batch=20)
    assert counts["broken"] == counts["crashes"] == 0


def test_a_node_that_is_gone_does_not_answer_for_the_next_at_its_address():
    """What code mentions is kept by node, and some nodes live for one pass only."""
    project = Project([])
    for name in [ast.Name(f"name_{number}", ast.Load()) for number in range(100)]:
        assert project.mentions(ast.Expr(name)).names == [name]
