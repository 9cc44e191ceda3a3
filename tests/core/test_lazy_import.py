"""Importing attnswitch, and asking for help, imports no torch."""

from __future__ import annotations

import subprocess
import sys

REPORT = "; import sys; print('torch' in sys.modules, 'transformers' in sys.modules)"


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_the_package_imports_no_torch():
    assert run("import attnswitch" + REPORT).strip() == "False False"


def test_help_imports_no_torch():
    code = """
import sys
from attnswitch.cli.main import main
try:
    main(["--help"])
except SystemExit:
    pass
print('torch' in sys.modules, 'transformers' in sys.modules)
"""
    out = run(code)
    assert out.splitlines()[-1] == "False False"
    assert "compare" in out


def test_the_proof_can_fail():
    assert run("import torch" + REPORT).split()[0] == "True"
