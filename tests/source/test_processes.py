"""Programs that start programs, and the processes that a scan spreads its work over."""

# ruff: noqa: E501 - a snippet is easier to read on one line
from __future__ import annotations

import os
import signal

import pytest

from attnswitch.source import scan
from attnswitch.source.spread import processors, spread

LOADS = "from transformers import AutoModelForCausalLM as M\nM.from_pretrained('x', attn_implementation='flash_attention_2')\n"


def program(starts=(), top=""):
    lines = "".join(f"    subprocess.run(['python', '{name}'])\n" for name in starts)
    return f"import subprocess\n{top}\nif __name__ == '__main__':\n    print()\n{lines}"


def verdicts(result):
    return {e.path: e.flash for e in result.entry_points}


@pytest.mark.parametrize("first, second", [("a.py", "b.py"), ("b.py", "a.py")])
def test_programs_that_start_one_another_are_told_apart_from_the_order(first, second, tree):
    root = tree({first: program([second], LOADS), second: program([first])})
    assert verdicts(scan(root)) == {first: "on", second: "on"}


def test_many_programs_that_start_one_another_come_to_an_end(tree):
    names = [f"p{i}.py" for i in range(12)]
    files = {name: program([n for n in names if n != name]) for name in names}
    root = tree({**files, "p3.py": program(names, LOADS)})
    assert set(verdicts(scan(root)).values()) == {"on"}


def test_a_scan_is_the_same_in_however_many_processes(tree):
    files = {f"run_{i}.py": program([f"run_{i + 1}.py"], LOADS if i % 3 else "") for i in range(9)}
    files["go.sh"] = "".join(f"python run_{i}.py --n {i}\n" for i in range(9))
    root = tree(files)
    alone = scan(root, processes=1).as_json()
    others = [scan(root, processes=n).as_json() for n in (2, 3, 64)]
    assert len(alone["entry_points"]) == 18
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


def test_the_processors_are_those_that_may_be_used():
    assert 1 <= processors() <= (os.cpu_count() or 1)
