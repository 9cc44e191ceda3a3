"""The commands: exit status, JSON, SARIF, baseline."""

from __future__ import annotations

import argparse
import json

import pytest

from attnswitch.cli import patch as patch_command
from attnswitch.cli import scan as scan_command
from attnswitch.errors import InputError

FLASH = "def f():\n    load(attn_implementation='flash_attention_2')\n"


def call(*words):
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    scan_command.add_parser(subparsers)
    patch_command.add_parser(subparsers)
    arguments = parser.parse_args([str(w) for w in words])
    return arguments.run(arguments)


def test_scan_reports_and_returns_0(tree, capsys):
    assert call("scan", tree({"m.py": FLASH})) == 0
    assert "asks for FlashAttention" in capsys.readouterr().out


def test_check_returns_1_only_for_hard_coded_choices(tree, capsys):
    root = tree({"m.py": FLASH, "ok/n.py": "def f(a):\n    load(attn_implementation=a)\n"})
    assert call("scan", "--check", root) == 1
    assert "m.py:2: keyword" in capsys.readouterr().out
    assert call("scan", "--check", root / "ok") == 0


def test_json_holds_the_contract(tree, capsys):
    root = tree({"m.py": FLASH, "run.py": "from m import f\nif __name__ == '__main__':\n    f()\n"})
    assert call("scan", root, "--json", "-") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["schema"] == "attnswitch.scan/1" and record["root"] == str(root)
    assert {"path", "line", "mechanism", "status", "message"} <= record["findings"][0].keys()
    assert {"path", "kind", "flash", "because", "turn_off"} <= record["entry_points"][0].keys()


def test_sarif_has_rules_and_places(tree, tmp_path):
    target = tmp_path / "out.sarif"
    call("scan", tree({"src/m.py": FLASH}) / "src", "--sarif", target)
    run = json.loads(target.read_text())["runs"][0]
    assert run["results"][0]["ruleId"] == "keyword" == run["tool"]["driver"]["rules"][0]["id"]
    assert run["results"][0]["level"] == "warning"
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("m.py", 2)


def test_a_baseline_accepts_old_findings_and_refuses_new_ones(tree, tmp_path):
    root, old = tree({"a/m.py": FLASH}) / "a", tmp_path / "old.json"
    call("scan", root, "--json", old)
    assert call("scan", "--check", "--baseline", old, root) == 0
    (root / "m.py").write_text("\n" + FLASH + "\n" + FLASH.replace("f()", "g()"))
    assert call("scan", "--check", "--baseline", old, root) == 1


@pytest.mark.parametrize("text", ["not json", '{"schema": "other"}', None])
def test_a_bad_baseline_is_an_input_error(text, tree, tmp_path):
    old = tmp_path / "old.json"
    if text is not None:
        old.write_text(text)
    with pytest.raises(InputError, match="baseline"):
        call("scan", "--check", "--baseline", old, tree({"m.py": FLASH}))


def test_patch_prints_a_diff_and_writes_nothing(tree, capsys):
    root = tree({"m.py": FLASH})
    assert call("patch", root) == 0
    assert capsys.readouterr().out.startswith("--- a/m.py\n+++ b/m.py\n")
    assert (root / "m.py").read_text() == FLASH


def test_patch_check_then_write_then_check(tree):
    root = tree({"m.py": FLASH})
    assert call("patch", "--check", root) == 1
    assert call("patch", "--write", root) == 0
    assert call("patch", "--check", root) == 0
    assert call("scan", "--check", root) == 0


def test_patch_lists_what_it_leaves(tree, capsys):
    call("patch", tree({"requirements.txt": "flash-attn\n"}))
    assert "left alone: requirements.txt:1 (dependency)" in capsys.readouterr().err
