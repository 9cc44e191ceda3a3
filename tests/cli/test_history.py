"""`attnswitch history` from the outside."""

from __future__ import annotations

import dataclasses
import json
import sqlite3

import pytest

from attnswitch.cli.main import main
from attnswitch.record import schema
from attnswitch.record.store import open_record
from tests.history.made_up import Machine


@pytest.fixture
def file(tmp_path):
    """Ten runs of one version, then ten of another, in which `standard` is 8 % slower."""
    path = tmp_path / "record.sqlite"
    machine = Machine(21)
    with open_record(path) as record:
        for number in range(20):
            slower, code = ({"standard": 1.08}, "bbbb") if number >= 10 else (None, "aaaa")
            run, rows = machine.run(slower, code=code)
            record.add(run, rows)
    return path


@pytest.fixture
def history(file):
    return lambda *arguments: main(["history", "--record", str(file), *arguments])


def test_runs_are_listed(history, capsys):
    assert history() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert all("demo, attention" in line and "cccccccc" in line for line in lines[1:])


def test_filters_and_their_mistakes(history, capsys):
    assert history("--request", "standard", "--subject", "demo") == 0
    assert history("--subject", "dmo") == 2
    assert "no subject 'dmo' (did you mean 'demo'?)" in capsys.readouterr().err
    assert history("--phase", "decod") == 2
    assert "unknown phase 'decod' (did you mean 'decode'?)" in capsys.readouterr().err
    assert history("--part", "half") == 2
    assert "unknown part 'half'; write whole or attention" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("--compare", "last~1", "last", "--report", "x.md"), "--compare has no report: write --j"),
        (("--export", "x.jsonl", "--report", "x.md"), "--export has no report: report the runs"),
        (("--export", "x.jsonl", "--json", "x.json"), "--export writes no --json"),
        (("--commit", "abc"), "--commit goes with --check; runs of a commit are --commit-of-run"),
        (("--check", "--commit", "abc", "--absolute"), "--absolute goes with --check alone"),
        (("--check", "--commit", "abc", "--pairs", "7"), "fewer than 8 can show nothing at 1 %"),
    ],
)
def test_what_would_be_ignored_is_refused(history, capsys, tmp_path, monkeypatch, asked, words):
    monkeypatch.chdir(tmp_path)
    assert history(*asked) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["record.sqlite"]


def test_every_line_separator_in_a_label_comes_back(tmp_path, capsys):
    label = "one\u0085two\u2028three\u2029four"
    run, rows = Machine(3).run(None)
    with open_record(tmp_path / "a.sqlite") as record:
        record.add(dataclasses.replace(run, label=label), rows)
    told = str(tmp_path / "a.jsonl")
    assert main(["history", "--record", str(tmp_path / "a.sqlite"), "--export", told]) == 0
    assert main(["history", "--record", str(tmp_path / "b.sqlite"), "--import", told]) == 0
    with open_record(tmp_path / "b.sqlite") as record:
        assert [one.label for one in record.runs()] == [label]


def test_the_baseline_of_a_run_is_that_of_its_reports(tmp_path):
    run, rows = Machine(3).run(None)
    run = dataclasses.replace(run, settings={**run.settings, "baseline": "standard"})
    with open_record(tmp_path / "a.sqlite") as record:
        record.add(run, rows)
    target = tmp_path / "out.json"
    words = ["--record", str(tmp_path / "a.sqlite"), "--json", str(target)]
    assert main(["history", "--show", "last", *words]) == 0
    ratios = json.loads(target.read_text())["ratios"]
    assert [one["baseline"] for one in ratios] == ["standard", "standard"]


def test_a_run_is_shown_and_reported(history, capsys, tmp_path):
    page, target = tmp_path / "page.html", tmp_path / "out.json"
    assert history("--show", "last", "--report", str(page), "--json", str(target)) == 0
    assert "built-in LLaVA, attention alone, float32" in capsys.readouterr().out
    assert len(json.loads(target.read_text())["rows"]) == 3
    assert "<svg" in page.read_text()


def test_a_report_of_any_set_of_runs(history, tmp_path):
    target = tmp_path / "out.json"
    assert history("--request", "eager", "--json", str(target)) == 0
    told = json.loads(target.read_text())
    assert (len(told["runs"]), len(told["rows"])) == (20, 20)


def test_two_runs_are_compared(history, capsys, tmp_path):
    target = tmp_path / "out.json"
    assert history("--compare", "last~10", "last", "--json", str(target)) == 0
    told = json.loads(target.read_text())
    assert told["schema"] == "attnswitch.run-comparison/1"
    assert [row["request"] for row in told["rows"]] == ["flash", "standard", "eager"]
    assert "control" in capsys.readouterr().out


def test_a_slowdown_is_found_with_status_1(history, capsys, tmp_path):
    target = tmp_path / "out.json"
    assert history("--check", "--json", str(target)) == 1
    told = json.loads(target.read_text())
    assert told["schema"] == "attnswitch.check/1"
    assert told["slower"] is True
    judged = {one["request"]: one["judgement"] for one in told["findings"]}
    assert judged["standard"] == "slower"
    assert judged["flash"] != "slower"
    out = capsys.readouterr().out
    assert "SLOWER: 1 row of 3" in out
    assert history("--check", "--request", "flash") == 0


def test_too_few_runs(history, capsys, tmp_path):
    with open_record(tmp_path / "few.sqlite") as record:
        record.add(*Machine(1).run())
    assert main(["history", "--record", str(tmp_path / "few.sqlite"), "--check"]) == 2
    assert "measure more with attnswitch bench --repeat 10" in capsys.readouterr().err


def test_out_and_back(history, file, tmp_path, capsys):
    lines = tmp_path / "all.jsonl"
    assert history("--export", str(lines)) == 0
    other = tmp_path / "other.sqlite"
    for added in (60, 0):
        assert main(["history", "--record", str(other), "--import", str(lines)]) == 0
        assert f"{added} rows added, {60 - added} were there already" in capsys.readouterr().err
    again = tmp_path / "again.jsonl"
    assert main(["history", "--record", str(other), "--export", str(again)]) == 0
    assert again.read_text() == lines.read_text()


def newer(path):
    plain = sqlite3.connect(path)
    plain.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    plain.close()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda path: path.unlink(), [], "there is no record"),
        (lambda path: path.write_bytes(b"x" * 5000), [], "is no record of attnswitch"),
        (newer, [], f"is of version {schema.VERSION + 1}, this attnswitch knows versions up to"),
        (None, ["--show", "x"], "no run begins with 'x'"),
        (None, ["--since", "soon"], "--since 'soon' is no time"),
        (None, ["--check", "--detect", "1", "--tolerance", "2"], "--detect must be more than"),
        (None, ["--check", "--report", "x.html"], "--check has no report"),
        (None, ["--import", "/nowhere.jsonl"], "cannot read /nowhere.jsonl"),
        (None, ["--check", "--commit", "HEAD", "--project", "/"], "/ is no git repository"),
    ],
)
def test_bad_input_is_one_line(history, file, capsys, change, arguments, message):
    if change is not None:
        change(file)
    assert history(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith("attnswitch history: ")
