"""The commands: exit status, JSON, SARIF, baseline."""

from __future__ import annotations

import argparse
import json
import re

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


#: What SARIF 2.1.0 requires of each object that is written, and the values it allows.
REQUIRED = {
    "log": {"version": str, "runs": list},
    "run": {"tool": dict},
    "driver": {"name": str},
    "rule": {"id": str},
    "result": {"message": dict},
    "location": {"physicalLocation": dict},
    "physicalLocation": {"artifactLocation": dict},
}
LEVELS = {"none", "note", "warning", "error"}


def required(kind, record):
    for key, value in REQUIRED[kind].items():
        assert isinstance(record[key], value), f"{kind}.{key}"


def test_sarif_has_the_structure_that_the_standard_requires(tree, tmp_path):
    files = {
        "src/a b/é.py": FLASH + "import flash_attn\nassert use_flash_attn\n",
        "src/run.sh": "python x.py --use_flash_attn True\n",
        "src/requirements.txt": "flash-attn\n",
    }
    target = tmp_path / "out.sarif"
    call("scan", tree(files) / "src", "--sarif", target)
    log = json.loads(target.read_text(encoding="utf-8"))
    required("log", log)
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    for run in log["runs"]:
        required("run", run)
        required("driver", run["tool"]["driver"])
        assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
        rules = run["tool"]["driver"]["rules"]
        for rule in rules:
            required("rule", rule)
            assert rule["shortDescription"]["text"]
        names = [rule["id"] for rule in rules]
        assert len(names) == len(set(names)), "rules are unique"
        assert len(run["results"]) == 5
        for result in run["results"]:
            required("result", result)
            assert result["message"]["text"] and result["level"] in LEVELS
            assert result["ruleId"] in names
            for location in result["locations"]:
                required("location", location)
                place = location["physicalLocation"]
                required("physicalLocation", place)
                assert place["region"]["startLine"] >= 1
                uri = place["artifactLocation"]["uri"]
                assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", uri), "a relative reference, RFC 3986"


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
