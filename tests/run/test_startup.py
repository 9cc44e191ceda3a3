"""What the .pth line costs a Python that does not ask for anything: next to nothing."""

from __future__ import annotations

import sys
import timeit
from pathlib import Path

from tests.run.launching import start

LINE = (Path(__file__).parents[2] / "src" / "attnswitch.pth").read_text()
LOADED = """
import sys
print([name for name in sys.modules if name.partition(".")[0] in ("attnswitch", "wrapt")])
"""


def test_unset_it_imports_nothing(tmp_path):
    assert start([sys.executable, "-c", LOADED], tmp_path).stdout == "[]\n"


def test_set_it_imports_this_package_so_the_test_above_can_fail(tmp_path):
    done = start([sys.executable, "-c", LOADED], tmp_path, {"ATTNSWITCH": "standard"})
    assert "attnswitch.arming" in done.stdout
    assert "torch" not in done.stdout.replace("torch_import", "")


def test_the_line_takes_less_than_a_fifth_of_a_millisecond():
    """`site` compiles and runs the line at each start; whole starts are compared in docs/run.md."""
    seconds = min(timeit.repeat(lambda: exec(LINE, {}), number=20, repeat=20)) / 20
    assert seconds < 0.0002


def test_it_is_one_line():
    """`site` reads .pth files line by line; a second line would be a path."""
    assert LINE.count("\n") == 1
    assert LINE.startswith("import ")
