"""`attnswitch bench` from the outside: what it writes, keeps and returns."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from attnswitch.bench import running
from attnswitch.cli.main import build_parser, main
from attnswitch.record.store import open_record
from tests.bench.tiny_workloads import stopped_at

QUICK = ["--rounds", "3", "--seconds", "1", "--resident", "none"]
TINY = ["--geometry", "demo", "--attention-only", "--tokens", "4,8", *QUICK]


@pytest.fixture
def record_file(tmp_path):
    return tmp_path / "record.sqlite"


@pytest.fixture
def bench(record_file, tmp_path):
    def run(*arguments: str):
        target = tmp_path / "out.json"
        target.unlink(missing_ok=True)
        status = main(["bench", *arguments, "--record", str(record_file), "--json", str(target)])
        return status, json.loads(target.read_text()) if target.exists() else None

    return run


def test_the_contract(bench, record_file, tmp_path, capsys):
    page, plots = tmp_path / "page.html", tmp_path / "plots"
    status, told = bench(
        *TINY, "--phase", "prefill", "decode", "--label", "one", "--report", str(page),
        "--report", str(tmp_path / "page.md"), "--plots", str(plots),
    )  # fmt: skip
    assert status == 0
    assert told["schema"] == "attnswitch.benchmark/1"
    assert len(told["rows"]) == 2 * 2 * 3
    for row in told["rows"]:
        assert {"workload", "request", "backend", "family", "tokens", "seconds", "peak_bytes",
                "receipts"} <= set(row)  # fmt: skip
        assert set(row["seconds"]) == {"median", "low", "high"}
        assert len(row["samples"]) == len(row["control"]) == 3
        assert row["status"] == "valid"
    assert {one["candidate"] for one in told["ratios"]} == {"standard", "eager"}
    assert {"clocks", "code", "processor", "threads", "packages"} <= set(told["environment"])
    out = capsys.readouterr()
    assert "built-in LLaVA, attention alone, float32" in out.out
    assert "[4/4] demo, attention alone: decode, 8 tokens, float32" in out.err
    assert f"record: {record_file}, run {told['runs'][0]['id']}" in out.err
    assert page.read_text().count("<svg") == 7
    assert "](plots/" in (tmp_path / "page.md").read_text()
    assert len(list(plots.glob("*.png"))) == len(list(plots.glob("*.svg"))) == 7 + 2
    with open_record(record_file) as record:
        (run,) = record.runs()
        assert run.label == "one"
        assert run.command.startswith("attnswitch bench --geometry demo --attention-only")
        assert [row.data for row in record.rows()] == [
            {k: v for k, v in row.items() if k not in ("run", "position")} for row in told["rows"]
        ]


def test_a_whole_model_over_its_phases(bench):
    status, told = bench("--phase", "vision", "prefill", "decode", "--backends", "flash",
                         "standard", "--rounds", "1", "--resident", "none")  # fmt: skip
    assert status == 0
    found = {(row["workload"]["phase"], row["request"]): row for row in told["rows"]}
    assert len(found) == 6
    assert {row["workload"]["kind"] for row in told["rows"]} == {"model"}
    for (phase, request), row in found.items():
        assert row["status"] == "valid"
        assert {receipt["phase"] for receipt in row["receipts"]} == {phase}
        assert row["family"] == {"flash": "flash", "standard": "standard"}[request]
        assert len(row["receipts"]) == (5 if phase == "vision" else 4)


def test_resume_measures_only_what_is_missing(bench, capsys):
    bench(*TINY, "--phase", "prefill", "--label", "a")
    status, told = bench(*TINY, "--phase", "prefill", "decode", "--label", "a", "--resume")
    assert status == 0
    assert len({row["run"] for row in told["rows"]}) == 2
    assert len(told["runs"]) == 2
    assert capsys.readouterr().err.count("(from the record)") == 2
    for changed in (["--label", "b"], ["--label", "a", "--rounds", "4"],
                    ["--label", "a", "--backends", "flash"]):  # fmt: skip
        bench(*TINY, "--phase", "prefill", "--resume", *changed)
        assert "(from the record)" not in capsys.readouterr().err


def test_control_c_keeps_and_reports_what_is_finished(bench, monkeypatch, capsys):
    monkeypatch.setattr(running, "measure", stopped_at(8))
    status, told = bench(*TINY, "--phase", "prefill")
    assert status == 130
    assert [row["tokens"] for row in told["rows"]] == [4, 4, 4]
    assert "stopped; what was finished is kept; --resume goes on" in capsys.readouterr().err
    monkeypatch.undo()
    _, told = bench(*TINY, "--phase", "prefill", "--resume")
    assert len(told["rows"]) == 6


def test_repeat_makes_runs_in_fresh_processes(record_file, tmp_path):
    target = tmp_path / "all.json"
    arguments = [
        "bench", "--geometry", "demo", "--attention-only", "--tokens", "4", "--phase", "prefill",
        "--backends", "flash", "--rounds", "1", "--resident", "none", "--no-memory",
        "--record", str(record_file), "--repeat", "2", "--json", str(target),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "attnswitch.cli.main", *arguments], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(target.read_text())
    assert len({run["id"] for run in told["runs"]}) == 2
    with open_record(record_file) as record:
        assert len(record.runs()) == 2


def test_a_repeated_run_is_one_however_repeat_was_written(monkeypatch, record_file):
    commands = []

    def failing(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(subprocess, "run", failing)
    assert main(["bench", *TINY, "--repe", "3", "--record", str(record_file)]) == 7
    (command,) = commands
    assert build_parser().parse_args(command[3:]).repeat == 1


def test_no_record_keeps_nothing(record_file, capsys):
    main(["bench", *TINY, "--phase", "prefill", "--no-record", "--record", str(record_file)])
    assert not record_file.exists()
    assert "record:" not in capsys.readouterr().err


def test_geometries_are_listed(capsys):
    assert main(["bench", "--list-geometries"]) == 0
    assert "llava-v1.6-34b" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["--geometry", "llava-1.5-7"],
            2,
            "no geometry 'llava-1.5-7' (did you mean 'llava-1.5-7b'",
        ),
        (["--phase", "prefil"], 2, "unknown phase 'prefil' (did you mean 'prefill'?)"),
        (["--backends", "falsh"], 2, "unknown request 'falsh' (did you mean 'flash'?)"),
        (["--backends", "off"], 2, "write 'standard' to turn FlashAttention off"),
        (["--baseline", "math"], 2, "--baseline math is none of what is measured: flash, standard"),
        (["--backends", "efficient"], 3, "efficient: runs on cuda, not on cpu"),
        (["--backends", "flash_attn"], 3, "the package flash_attn is not installed"),
        (["--dtype", "bf61"], 2, "unknown dtype 'bf61' (did you mean 'bf16'?)"),
        (["--device", "cuda"], 3, "the device 'cuda' cannot be used"),
        (["--model", "x", "--geometry", "demo"], 2, "--model and --geometry name two subjects"),
        (["--model", "/nowhere"], 2, "there is no folder /nowhere"),
        (["--no-record", "--resume"], 2, "--resume and --repeat live on the record"),
        (["--repeat", "2", "--resume"], 2, "--repeat measures again what --resume would take"),
        (["--seconds", "0"], 2, "--seconds must be above zero"),
        (["--report", "page.pdf"], 2, "the name must end in .html or .md"),
        (["--report", "/nowhere/page.html"], 2, "there is no folder /nowhere"),
        (["--frames", "4"], 2, "takes no video"),
        (["--tokens", "4096"], 2, "exceed the context of built-in LLaVA, 2,048"),
    ],
)
def test_bad_input_is_one_line_and_a_status(record_file, capsys, arguments, status, message):
    record = [] if "--record" in arguments else ["--record", str(record_file)]
    assert main(["bench", *arguments, *record]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith("attnswitch bench: ")


def test_a_record_that_is_none_is_told_before_anything_is_measured(tmp_path, capsys):
    file = tmp_path / "record.sqlite"
    file.write_text("no database at all")
    assert main(["bench", *TINY, "--record", str(file)]) == 2
    assert "is no record of attnswitch" in capsys.readouterr().err
