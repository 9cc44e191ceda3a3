"""Child processes of every kind obey, and leave a receipt each."""

from __future__ import annotations

import json
import sys

from tests.run.launching import SDPA, receipts, run, script

WORK = """
import os, sys, subprocess, multiprocessing
import torch, torch.nn.functional as F
torch.set_num_threads(1)

def work(times=1):
    q = torch.randn(1, 2, 8, 16)
    for _ in range(times):
        F.scaled_dot_product_attention(q, q, q)

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, index):
        work()
        return index

if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        work(4)
        raise SystemExit(0)
    work(1)
    for method, times in (("fork", 2), ("spawn", 3)):
        process = multiprocessing.get_context(method).Process(target=work, args=(times,))
        process.start()
        process.join()
        assert process.exitcode == 0
    subprocess.run([sys.executable, __file__, "child"], check=True)
    list(torch.utils.data.DataLoader(Data(), num_workers=1))
"""


def test_forked_spawned_loader_and_plain_children(tmp_path):
    done = run(tmp_path, "--attn", "math", "--receipt", "r.json", script(tmp_path, WORK))
    assert done.returncode == 0, done.stderr
    files = sorted(tmp_path.glob("r*.json"))
    assert len(files) == 5
    by_calls = {}
    for path in files:
        (one,) = receipts(path)
        process = json.loads(path.read_text())["process"]["pid"]
        assert (one["backend"], one["evidence"], one["process"]) == ("math", "guarded", process)
        assert path.name in ("r.json", f"r.{process}.json")
        by_calls.setdefault(one["calls"], []).append(path.name)
    # 1 here, 2 forked, 3 spawned, 4 by subprocess; the loader's one worker made 2.
    assert {calls: len(names) for calls, names in by_calls.items()} == {1: 1, 2: 2, 3: 1, 4: 1}
    assert by_calls[1] == ["r.json"]


def test_a_forked_worker_that_swallows_the_error_fails_the_run(tmp_path):
    text = (
        WORK.split("if __name__")[0]
        + """
def quiet():
    try:
        work()
    except Exception:
        os._exit(0)

if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=quiet)
    process.start()
    process.join()
"""
    )
    done = run(tmp_path, "--forbid", "flash", script(tmp_path, text))
    assert done.returncode == 125
    assert "a forbidden kernel was stopped" in done.stderr


LAUNCHED = (
    SDPA
    + """
import os, sys
F.scaled_dot_product_attention(q, q, q)
from attnswitch import intent
# In one piece: two processes write here, where PYTHONUNBUFFERED is set at once.
sys.stdout.write(f"rank {os.environ.get('RANK', '0')} {intent.of_process().backend}\\n")
"""
)


def test_torchrun(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = run(tmp_path, "--attn", "math", "--receipt", "r.json", "--", *command,
               "--nproc-per-node", "2", script(tmp_path, LAUNCHED))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "rank 0 math", "rank 1 math"]
    files = sorted(tmp_path.glob("r*.json"))
    assert len(files) == 3  # the launcher's own, which computed nothing, and one a rank
    assert receipts(tmp_path / "r.json") == []
    ranks = [receipts(path) for path in files if path.name != "r.json"]
    assert [[one["backend"] for one in found] for found in ranks] == [["math"], ["math"]]


def test_accelerate_launch(tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    done = run(tmp_path, "--attn", "math", "--receipt", "r.json", "--", *command,
               "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
               script(tmp_path, LAUNCHED))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "rank 0 math" in done.stdout
    assert any(receipts(path) for path in tmp_path.glob("r.*.json"))
