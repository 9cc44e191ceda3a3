"""Healthy pairs are not called bugs."""

from __future__ import annotations

import pytest

from tests.verification import false_alarms, faults


@pytest.mark.slow
def test_at_most_one_false_alarm_in_200_seeded_runs(capsys):
    assert false_alarms.main(["--runs", "200"]) == 0, capsys.readouterr().out


def test_the_count_can_rise(capsys):
    """A kernel that is a little wrong alarms in every run, and the script says so."""
    with faults.planted(faults.two_heads_zeroed):
        assert false_alarms.main(["--runs", "2"]) == 1
    assert "2 false alarms in 2 runs" in capsys.readouterr().out
