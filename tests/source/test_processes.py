"""Programs that start programs, and the processes that a scan spreads its work over."""

# ruff: noqa: E501 - a snippet is easier to read on one line
from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from results import verdicts

from attnswitch.source import scan
from attnswitch.source.spread import processors, spread

LOADS = "from transformers import AutoModelForCausalLM as M\nM.from_pretrained('x', attn_implementation='flash_attention_2')\n"


def program(starts=(), top=""):
    lines = "".join(f"    subprocess.run(['python', '{name}'])\n" for name in starts)
    return f"import subprocess\n{top}\nif __name__ == '__main__':\n    print()\n{lines}"


@pytest.mark.parametrize("first, second", [("a.py", "b.py"), ("b.py", "a.py")])
def test_programs_that_start_one_another_are_told_apart_from_the_order(first, second, tree):
    root = tree({first: program([second], LOADS), second: program([first])})
    assert verdicts(scan(root)) == {first: "on", second: "on"}


def test_many_programs_that_start_one_another_come_to_an_end(tree):
    names = [f"p{i:02}.py" for i in range(24)]
    files = {name: program([n for n in names if n != name]) for name in names}
    root = tree({**files, "p03.py": program(names, LOADS)})
    started = time.process_time()
    assert set(verdicts(scan(root)).values()) == {"on"}
    assert time.process_time() - started < 60, "one path after the other was walked"


def test_a_scan_is_the_same_in_however_many_processes(tree):
    files = {
        f"run_{i:02}.py": program([f"run_{i + 1:02}.py"], LOADS if i % 3 else "") for i in range(20)
    }
    files["go.sh"] = "".join(f"python run_{i:02}.py --n {i}\n" for i in range(20))
    root = tree(files)
    alone = scan(root, processes=1).as_json()
    others = [scan(root, processes=n).as_json() for n in (2, 3, 5)]
    assert len(alone["entry_points"]) == 40
    assert [{**s, "seconds": 0} for s in others] == [{**alone, "seconds": 0}] * 3


def test_work_is_done_in_other_processes_and_comes_back_in_order():
    ours = os.getpid()
    found = spread(lambda n: (n * n, os.getpid()), range(20), 2)
    assert [square for square, _ in found] == [n * n for n in range(20)]
    assert ours not in {pid for _, pid in found}
    assert {pid for _, pid in spread(lambda n: (n, os.getpid()), range(20), 1)} == {ours}
    assert {pid for _, pid in spread(lambda n: (n, os.getpid()), range(3), 2)} == {ours}


def test_what_the_work_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        spread(lambda n: 1 // n, [3, 2, 1, 0] * 3, 2)


def test_a_process_that_is_killed_loses_nothing():
    ours = os.getpid()

    def work(n):
        if n == 3 and os.getpid() != ours:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    assert spread(work, range(12), 2) == list(range(12))


def test_processes_end_whatever_handler_the_one_that_waits_has(tmp_path):
    def work(n):
        (tmp_path / str(n)).touch()
        return 1 // n if n == 0 else time.sleep(0.5)

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(ZeroDivisionError):
            spread(work, range(60), 2)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not multiprocessing.active_children()
    assert len(list(tmp_path.iterdir())) < 60, "a process went on to the end"


def test_what_one_process_raises_does_not_wait_for_the_others(tmp_path):
    def work(n):
        (tmp_path / str(n)).touch()
        return 1 // 0 if n == 1 else time.sleep(0.5)

    with pytest.raises(ZeroDivisionError):
        spread(work, range(60), 2)
    assert len(list(tmp_path.iterdir())) < 60, "the others were waited for"


@pytest.mark.parametrize("started", [0, 1])
def test_processes_that_cannot_be_started_lose_nothing(started, monkeypatch):
    fork, left = os.fork, [started]

    def refuse():
        if left[0] == 0:
            raise BlockingIOError(11, "no more processes")
        left[0] -= 1
        return fork()

    monkeypatch.setattr(os, "fork", refuse)
    found = spread(lambda n: (n, os.getpid()), range(12), 2)
    assert [n for n, _ in found] == list(range(12))
    assert len({pid for _, pid in found}) == 1 and ({found[0][1]} == {os.getpid()}) == (not started)


def test_a_process_of_a_pool_scans_by_itself(tree):
    files = {f"run_{i}.py": program(top=LOADS) for i in range(9)}
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_programs, (str(tree(files)),)) == 9


def _programs(root):
    return len(scan(root, processes=2).entry_points)


WAITS = """
import os, sys, time
from attnswitch.source.spread import spread

def work(n):
    if n == 0:
        print(os.getpid(), flush=True)
    time.sleep(1)

spread(work, range(40), 2)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_one_that_waits_for_them(sent):
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as waiting:
        worker = int(waiting.stdout.readline())
        waiting.send_signal(sent)
        waiting.wait(timeout=30)
        end = time.monotonic() + 30
        while time.monotonic() < end and _is_running(worker):
            time.sleep(0.1)
        assert not _is_running(worker)


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_processors_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 4, 7}, raising=False)
    assert processors() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors() == 1
