"""These tests need the .pth file as installed; without it nothing could be switched."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _installed_as_a_user_has_it():
    installed = Path(sysconfig.get_paths()["purelib"], "attnswitch.pth")
    ours = Path(__file__).parents[2] / "src" / "attnswitch.pth"
    assert installed.exists(), f"{installed} is missing: install the package (make test does)"
    assert installed.read_text() == ours.read_text(), f"{installed} is old: install again"
