"""An old commit beside the code of now: worktrees, workers, and the answer."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attnswitch.bench.statistics import Estimate
from attnswitch.cli.main import main
from attnswitch.errors import InputError, UnavailableError
from attnswitch.history import side_by_side
from attnswitch.history.against_commit import both_sides, workloads_of
from attnswitch.history.findings import Evidence, Finding
from attnswitch.history.side_by_side import CONTROL, Process, Question, Side, compare_sides
from attnswitch.history.worktree import checked_out
from attnswitch.record.entries import Row
from tests.bench.tiny_workloads import tiny
from tests.history.planted import PACKAGE, git, repository

WORKLOAD = tiny(tokens=16).to_json()


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for number in (1, 2):
        (folder / "model.py").write_text(f"x = {number}\n")
        git(folder, "add", "model.py")
        git(folder, "commit", "--quiet", "--message", str(number))
        git(folder, "tag", f"release-{number}")
    return folder


def test_a_commit_stands_in_a_folder_of_its_own_for_a_while(project):
    with checked_out(project, "release-1") as (folder, commit):
        assert (folder / "model.py").read_text() == "x = 1\n"
        assert commit == git(project, "rev-parse", "release-1")
        assert (project / "model.py").read_text() == "x = 2\n"
    assert not folder.exists()
    with pytest.raises(RuntimeError), checked_out(project, "HEAD~1") as (folder, _):
        raise RuntimeError("interrupted")
    assert not folder.exists()
    assert len(git(project, "worktree", "list").splitlines()) == 1
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("relase-1", r"has no commit 'relase-1' \(did you mean 'release-1'\?\)"),
        ("--all", "'--all' is no commit"),
    ],
)
def test_a_commit_that_is_none(project, revision, message):
    with pytest.raises(InputError, match=message), checked_out(project, revision):
        pass


def test_the_sides_of_a_project_and_of_attnswitch_itself(project, tmp_path):
    (project / "model.py").write_text("x = 3\n")
    with both_sides(project, "release-1") as (old, new):
        assert old.package == new.package == PACKAGE
        assert old.path[0].joinpath("model.py").read_text() == "x = 1\n"
        assert new.path == (project,)
        assert new.name.endswith("changed since")
    own = repository(tmp_path / "own", None)
    with both_sides(own, "old") as (old, new):
        assert new.package == own / "src" / "attnswitch"
        assert old.package != new.package
        assert old.path == ()


def test_each_side_measures_its_own_code(tmp_path):
    """The old code has no bench yet, and its `standard` runs the math kernel."""
    old = tmp_path / "old" / "attnswitch"
    shutil.copytree(PACKAGE, old, ignore=shutil.ignore_patterns("__pycache__", "geometries"))
    for path in (old / "bench").glob("*.py"):
        path.unlink()
    (old / "tracing" / "mismatches.py").unlink()
    homes = old / "backends" / "__init__.py"
    text = homes.read_text()
    assert '("attnswitch.backends.query_blocks", "blockwise")' in text
    homes.write_text(text.replace('("attnswitch.backends.query_blocks", "blockwise")',
                                  '("attnswitch.backends.torch_math", "attend")'))  # fmt: skip
    told = {}
    for side in (Side("old", old), Side("new", PACKAGE)):
        with Process(side, threads=1) as process:
            assert process.answer() == {"ready": True}
            prepare = {"do": "prepare", "workload": WORKLOAD, "requests": ["standard", "efficient"]}
            told[side.name] = process.answer_to(prepare)["ran"]
            for request in ("standard", CONTROL):
                taken = process.answer_to({"do": "time", "request": request})
                assert 0 < taken["clock"] < 60
                assert 0 <= taken["processor"] < 60
            with pytest.raises(UnavailableError, match=rf"{side.name} cannot be measured: KeyErr"):
                process.answer_to({"do": "time", "request": "eager"})
    assert told == {
        "old": {"standard": ["math"], CONTROL: []}, "new": {"standard": ["blockwise"], CONTROL: []}
    }  # fmt: skip


def test_a_side_that_cannot_start_says_why(tmp_path):
    broken = tmp_path / "attnswitch"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('no such thing here')")
    with (
        Process(Side("abc123", broken), 1) as process,
        pytest.raises(UnavailableError, match=r"abc123 cannot be measured: .*no such thing here"),
    ):
        process.answer()
        process.answer_to({"do": "prepare", "workload": WORKLOAD, "requests": ["flash"]})


class Pairs:
    """Stands in for pairs of processes: figures drawn from a seeded noise."""

    def __init__(
        self, monkeypatch, noise: float, slower: float = 0.0, seed: int = 0,
        processor: float | None = None,
    ):  # fmt: skip
        self.chance, self.slower = random.Random(seed), slower
        self.noise = {"clock": noise} | ({} if processor is None else {"processor": processor})
        monkeypatch.setattr(side_by_side, "_pair", self)

    def __call__(self, old, new, question, generator, notes):
        found = {}
        for request in ("flash", "standard", CONTROL):
            share = 1 + (self.slower if request == "standard" else 0)
            for clock, noise in self.noise.items():
                layout = self.chance.gauss(0, noise)
                found[0, request, clock] = [
                    (1.0, 2.718281828 ** (layout + self.chance.gauss(0, 0.01)) * share)
                    for _ in range(9)
                ]
        return found


def asked(**more) -> Question:
    return Question([WORKLOAD], ["flash", "standard"], **more)


SIDES = Side("old", Path("/a")), Side("new", Path("/b"))


def test_a_slowdown_of_5_percent_is_found_and_sampling_ends(monkeypatch):
    Pairs(monkeypatch, noise=0.01, slower=0.05)
    found, taken = compare_sides(*SIDES, asked())
    assert [one.request for one in found.slower] == ["standard"]
    assert len(taken.pairs) < 40
    assert 1.03 < found.slower[0].ratio.median < 1.07
    assert found.control is not None
    assert 0.97 < found.control.median < 1.03


def test_no_difference_is_told_early(monkeypatch):
    Pairs(monkeypatch, noise=0.01)
    found, taken = compare_sides(*SIDES, asked())
    assert {one.judgement for one in found.findings} == {"not slower"}
    assert len(taken.pairs) == 10


def test_what_the_noise_hides_is_undecided_after_the_last_pair(monkeypatch):
    Pairs(monkeypatch, noise=0.3)
    found, taken = compare_sides(*SIDES, asked(most=14))
    assert len(taken.pairs) == 14
    assert found.undecided
    assert not found.slower


def test_processor_time_decides_where_the_clock_leaves_it_open(monkeypatch):
    """Others use the machine: the clock wanders by 20 %, the processors' time by 1 %."""
    Pairs(monkeypatch, noise=0.2, slower=0.05, processor=0.01)
    found, _ = compare_sides(*SIDES, asked())
    judged = {one.request: (one.judgement, one.by) for one in found.findings}
    assert judged == {"standard": ("slower", "processor"), "flash": ("not slower", "processor")}
    told = found.to_json()["findings"][1]
    assert set(told["evidence"]) == {"clock", "processor"}
    assert told["ratio"] == told["evidence"]["processor"]["ratio"]


def test_more_processor_time_alone_is_no_slowdown(monkeypatch):
    """More threads do more work in less time: the clock has the first word."""
    told = {"clock": Evidence(Estimate(0.8, 0.79, 0.81), 1.0),
            "processor": Evidence(Estimate(1.3, 1.29, 1.31), 0.001)}  # fmt: skip
    found = Finding.of(WORKLOAD, "flash", told, (10, 10), tolerance=0.01, detect=0.05)
    assert (found.judgement, found.by) == ("not slower", "clock")


def test_other_kernels_are_noted():
    notes: list[str] = []
    ran = [{"standard": ["math"]}, {"standard": ["blockwise"]}]
    for _ in range(2):
        side_by_side._note_kernels(ran, ["standard"], notes)
    assert notes == ["standard ran math in the old code and blockwise in the new"]


def test_what_one_side_refuses_is_noted_once():
    notes: list[str] = []
    refused = [{"eager": ["no code"]}, {"eager": ["no code"], "flash": ["no kernel"]}]
    for _ in range(2):
        side_by_side._note_refusals(refused, notes)
    assert notes == [
        "eager runs in neither code: no code", "flash does not run in the new code: no kernel",
    ]  # fmt: skip


def test_nothing_that_runs_on_both_sides_is_an_error(monkeypatch):
    def only_the_control(old, new, question, generator, notes):
        notes.append("flash does not run in the new code: no kernel")
        return {(0, CONTROL, "clock"): [(1.0, 1.0)]}

    monkeypatch.setattr(side_by_side, "_pair", only_the_control)
    with pytest.raises(UnavailableError, match="nothing that was asked for runs on both sides"):
        compare_sides(*SIDES, asked())


def test_a_worker_looks_for_modules_in_the_projects_folders_first(tmp_path):
    """Not in its own folder, nor in that of attnswitch."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("findings", "rich"):
        (project / f"{name}.py").write_text("raise SystemExit(f'{__name__} of the project')")
    code = (
        f"import sys; sys.path.insert(0, {str(side_by_side.WORKER.parent)!r})\n"
        "from pathlib import Path; import worker\n"
        "worker.stand_on(worker.TODAY)\n"
        "import importlib; importlib.import_module(sys.argv[1])"
    )
    for name in ("findings", "rich"):
        done = subprocess.run(
            [sys.executable, "-c", code, name], capture_output=True, text=True,
            env=side_by_side._environment([str(project), str(PACKAGE.parent)]), check=False,
        )  # fmt: skip
        assert done.stderr.strip() == f"{name} of the project"


def test_unchanged_code_alarms_as_rarely_as_it_is_said_to(monkeypatch):
    alarms = 0
    for seed in range(30):
        Pairs(monkeypatch, noise=0.02, seed=seed)
        alarms += bool(compare_sides(*SIDES, asked(most=14))[0].slower)
    assert alarms <= 2


def test_workloads_of_a_run_each_once():
    def row(request, tokens, status="valid"):
        return Row("r", 0, {"workload": {"tokens": tokens}, "request": request, "status": status})

    rows = [row("flash", 1), row("standard", 1), row("flash", 2), row("eager", 3, "not run")]
    assert workloads_of(rows) == ([{"tokens": 1}, {"tokens": 2}], ["flash", "standard"])
    with pytest.raises(InputError, match="no valid row"):
        workloads_of([row("flash", 1, "invalid")])


@pytest.mark.slow
@pytest.mark.parametrize(("share", "status"), [(0.05, 1), (None, 0)])
def test_a_planted_slowdown_of_5_percent_in_real_processes(tmp_path, share, status, capsys):
    project = repository(tmp_path / "project", share)
    record = str(tmp_path / "record.sqlite")
    main(["bench", "--geometry", "llava-onevision-0.5b", "--attention-only", "--tokens", "512",
          "--phase", "prefill", "--dtype", "fp32", "--backends", "flash", "standard",
          "--rounds", "3", "--resident", "none", "--record", record])  # fmt: skip
    found = main(["history", "--record", record, "--check", "--commit", "old",
                  "--project", str(project)])  # fmt: skip
    assert found == status
    assert ("SLOWER: 1 row of 2" in capsys.readouterr().out) == bool(status)
