"""The pytest plugin: its markers, its fixture, its settings, and how a violation reads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

import attnswitch.report.text

pytest_plugins = "pytester"

DOCS = Path(__file__).parents[2] / "docs"
PROJECT = DOCS / "examples" / "pytest_project"
PLUGIN = "attnswitch.pytest_plugin"
MODEL = """
import pytest, torch
from torch.nn.functional import scaled_dot_product_attention

class SelfAttention(torch.nn.Module):
    def forward(self, x):
        return scaled_dot_product_attention(x, x, x)

model, hidden = torch.nn.Sequential(SelfAttention()), torch.zeros(1, 2, 4, 8)
"""


def plugin_option() -> list[str]:
    """Where the package is installed with its entry point, pytest has the plugin already."""
    installed = any(found.value == PLUGIN for found in entry_points(group="pytest11"))
    return [] if installed else ["-p", PLUGIN]


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """pytester forgets what is imported inside; what stands at torch's operators may not be."""
    hidden = torch.zeros(1, 2, 4, 8)
    with attnswitch.use("standard"), attnswitch.trace() as trace, attnswitch.forbid("flash"):
        torch.nn.functional.scaled_dot_product_attention(hidden, hidden, hidden)
    attnswitch.report.text.trace_text(trace.to_json())


@pytest.fixture
def run(pytester):
    """Run a test file under the plugin, in this process."""

    def run(body: str, *options: str):
        pytester.makepyfile(MODEL + body)
        return pytester.runpytest_inprocess(*plugin_option(), *options)

    return run


def test_a_violation_fails_and_says_where(run):
    result = run("""
@pytest.mark.no_flash_attention
def test_it():
    model(hidden)
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*::test_it reached FlashAttention",
            "  at        0",
            "  operator  aten::_scaled_dot_product_flash_attention_for_cpu",
            "  called    *test_a_violation_fails_and_says_where.py:*",
            "  forbidden by pytest's no_flash_attention",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_swallowed_violation_fails_too(run):
    result = run("""
@pytest.mark.no_flash_attention
def test_it():
    try:
        model(hidden)
    except Exception:
        pass
""")
    result.assert_outcomes(failed=1)


def test_the_next_test_is_free_again(run):
    result = run("""
@pytest.mark.no_flash_attention
def test_barred():
    model(hidden)

@pytest.mark.attention("standard")
def test_switched(attention_receipts):
    with attention_receipts.of(model):
        model(hidden)
    assert attention_receipts.families == {"standard"}

def test_free(attention_receipts):
    with attention_receipts.of(model):
        model(hidden)
    assert attention_receipts.families == {"flash"}
""")
    result.assert_outcomes(failed=1, passed=2)


@pytest.mark.parametrize("by", ["ini", "option"])
def test_a_whole_suite(run, pytester, by):
    options = ["--no-flash-attention"]
    if by == "ini":
        options = []
        pytester.makeini("[pytest]\nno_flash_attention = true\n")
    result = run("""
def test_barred():
    model(hidden)

@pytest.mark.no_flash_attention(False)
def test_exempt():
    model(hidden)

@pytest.mark.attention("math")
def test_switched():
    model(hidden)
""", *options)  # fmt: skip
    result.assert_outcomes(failed=1, passed=2)


def test_a_suites_request(run, pytester):
    pytester.makeini("[pytest]\nattention = standard\n")
    result = run("""
def test_it(attention_receipts):
    with attention_receipts.of(model):
        model(hidden)
    assert {r.backend for r in attention_receipts.receipts} == {"blockwise"}
""")
    result.assert_outcomes(passed=1)


def test_what_a_test_forbids_itself_is_its_own_affair(run):
    result = run("""
import attnswitch

@pytest.mark.no_flash_attention(False)
@pytest.mark.attention("auto")
def test_it():
    with attnswitch.forbid("flash"), pytest.raises(attnswitch.AttnSwitchError):
        model(hidden)
""")
    result.assert_outcomes(passed=1)


def test_a_word_that_says_nothing_is_refused_before_any_test_runs(run):
    result = run("""
@pytest.mark.attention("off")
def test_it():
    assert False
""")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'off'*"])


def test_it_loads_without_torch():
    code = f"import sys, {PLUGIN}; assert 'torch' not in sys.modules; print(len(sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_example_project_does_what_its_page_says():
    """Run as its users would; the page shows how the failures read."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin_option()],
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "2", "COLUMNS": "80"},
        capture_output=True,
        text=True,
    )
    assert "3 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    page = (DOCS / "pytest.md").read_text()
    shown = re.search(r"```text\n(test_forgotten.*?)```", page, re.DOTALL)[1]
    printed = done.stdout.replace(f"{PROJECT}{os.sep}", "")
    assert shown in printed


def test_the_page_shows_the_projects_own_files():
    page = (DOCS / "pytest.md").read_text()
    assert (PROJECT / "test_small_model.py").read_text().strip() in page
