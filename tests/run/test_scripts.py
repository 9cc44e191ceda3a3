"""Unchanged scripts under the switch: what runs in them, and what the run says of it."""

from __future__ import annotations

import json

from tests.run.launching import FLASH, SDPA, receipts, run, script, start


def test_a_script_and_its_arguments(tmp_path):
    name = script(
        tmp_path,
        SDPA
        + """
import sys
F.scaled_dot_product_attention(q, q, q)
print(sys.argv[1:], __name__)
raise SystemExit(5)
""",
    )
    done = run(tmp_path, "--attn", "standard", "--receipt", "r.json", name, "--attn", "b")
    assert done.returncode == 5, done.stderr
    assert done.stdout == "['--attn', 'b'] __main__\n"
    assert done.stderr == ""
    (one,) = receipts(tmp_path / "r.json")
    assert (one["backend"], one["evidence"], one["calls"]) == ("blockwise", "guarded", 1)
    assert one["executed"] == ["attnswitch::blockwise"]
    assert one["source"] == "ATTNSWITCH"


def test_without_the_wrapper_and_from_a_module(tmp_path):
    """The variables alone, a relative receipt path, and a change of folder by the program."""
    (tmp_path / "elsewhere").mkdir()
    script(
        tmp_path,
        SDPA
        + """
import os
os.chdir("elsewhere")
for _ in range(3):
    F.scaled_dot_product_attention(q, q, q)
""",
        "work.py",
    )
    import sys

    done = start([sys.executable, "-m", "work"], tmp_path, {"ATTNSWITCH_RECEIPT": "r.json"})
    assert (done.returncode, done.stderr) == (0, "")
    (one,) = receipts(tmp_path / "r.json")
    assert (one["executed"], one["calls"], one["requested"]) == ([FLASH], 3, None)


def test_forbidden_and_swallowed_fails_the_run(tmp_path):
    name = script(
        tmp_path,
        SDPA
        + """
class MyAttention(torch.nn.Module):
    def forward(self, q):
        return F.scaled_dot_product_attention(q, q, q)

class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = MyAttention()
    def forward(self, q):
        return self.inner(q)

try:
    Tower()(q)
except Exception as error:
    print(type(error).__name__, error)
""",
    )
    done = run(tmp_path, "--forbid", "flash", "--receipt", "r.json", name)
    assert done.returncode == 125
    for told in (done.stdout, done.stderr):
        assert FLASH in told
        assert "at inner" in told
        assert "ATTNSWITCH_FORBID=flash" in told
        assert "script.py:7" in told
    assert "the program went on" in done.stderr
    record = json.loads((tmp_path / "r.json").read_text())
    assert FLASH in record["process"]["stopped"][0]


def test_required_and_another_kernel_runs(tmp_path):
    name = script(tmp_path, SDPA + "\nF.scaled_dot_product_attention(q, q, q)\n")
    done = run(tmp_path, "--attn", "math", "--require", "flash", name)
    assert done.returncode == 1
    assert "a kernel other than FlashAttention was about to run: math" in done.stderr


def test_required_and_none_runs(tmp_path):
    done = run(tmp_path, "--require", "flash", script(tmp_path, "import torch"))
    assert done.returncode == 125
    assert "no flash attention kernel ran" in done.stderr


def test_a_request_that_cannot_be_met_here(tmp_path):
    name = script(
        tmp_path,
        """
        for _ in range(2):
            try:
                import torch
            except Exception as error:
                print(type(error).__name__)
        """,
    )
    done = run(tmp_path, "--attn", "efficient", name)
    assert done.returncode == 125
    assert done.stdout == "UnavailableError\n" * 2
    assert "runs on cuda, not on cpu" in done.stderr


def test_a_receipt_that_cannot_be_written_is_said_and_fails_the_run(tmp_path):
    (tmp_path / "there").mkdir()
    name = script(
        tmp_path,
        "import os; os.rmdir('there')" + SDPA + "F.scaled_dot_product_attention(q, q, q)\n",
    )
    done = run(tmp_path, "--receipt", "there/r.json", name)
    assert done.returncode == 125
    assert done.stderr.count("attnswitch: a receipt could not be written") == 1
    assert "attnswitch run: a receipt could not be written" in done.stderr


def test_an_early_import_of_torch_by_another_startup_hook_is_armed_too(tmp_path):
    """`sitecustomize` runs after .pth files; ours must not keep it from running, nor miss torch."""
    script(
        tmp_path,
        """
        import os
        if "ATTNSWITCH_CHECKIN" in os.environ:
            import torch
            print("customized")
        """,
        "sitecustomize.py",
    )
    name = script(
        tmp_path,
        SDPA
        + """
from attnswitch import intent
F.scaled_dot_product_attention(q, q, q)
print(intent.of_process().backend)
""",
    )
    done = run(tmp_path, "--attn", "math", name, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "customized\nmath\n"), done.stderr
