"""transformers' progress bars: on a terminal only."""

from __future__ import annotations

import contextlib
import sys

from attnswitch.models import bars
from attnswitch.models.load import load_model

from .checkpoints import write_checkpoint

BAR = "Loading weights"


def test_a_log_gets_no_bar(tmp_path, capfd, monkeypatch):
    folder = str(write_checkpoint(tmp_path))
    load_model(folder)
    assert BAR not in capfd.readouterr().err
    # The proof that the bar would have been there.
    monkeypatch.setattr(bars, "only_on_a_terminal", contextlib.nullcontext)
    load_model(folder)
    assert BAR in capfd.readouterr().err


def test_a_terminal_gets_one(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    load_model(str(write_checkpoint(tmp_path)))
    assert BAR in capfd.readouterr().err
