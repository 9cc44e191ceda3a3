"""What a run amounts to, from the notes its processes left: no process is started here."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnswitch.running import checkin
from attnswitch.running.checkin import Notes, read_notes
from attnswitch.running.outcome import judge


def notes(**kinds: str) -> Notes:
    return Notes({kind: [text] for kind, text in kinds.items()}, {kind: {1} for kind in kinds})


def outcome(left: Notes, status: int = 0, **more):
    return judge(left, status, required=more.get("required"), receipt=more.get("receipt"))


@pytest.mark.parametrize("status", [0, 1, 7, 130, 143])
def test_the_commands_own_status_is_returned(status):
    assert outcome(notes(started="", armed=""), status).status == status


@pytest.mark.parametrize(
    ("left", "says"),
    [
        (notes(), "no Python process was reached"),
        (notes(started=""), "no process imported torch"),
        (notes(refused="it cannot be met"), "it cannot be met"),
        (notes(armed="", tripped="flash at a.b"), "flash at a.b"),
        (notes(armed="", unwritten="/x: no space"), "/x: no space"),
    ],
)
def test_our_own_failures_are_125_and_say_why(left, says):
    found = outcome(left)
    assert found.status == 125
    assert says in found.messages[0]


def test_a_failed_command_keeps_its_status_and_the_message_is_said_beside_it():
    found = outcome(notes(armed="", tripped="flash"), 3)
    assert found.status == 3
    assert "the command ended 3" in found.messages[0]


def test_a_refused_switch_is_125_whatever_the_program_made_of_it():
    assert outcome(notes(refused="no"), 1).status == 125


def test_require_needs_one_kernel_in_one_process():
    assert outcome(notes(armed=""), required="flash").status == 125
    assert outcome(notes(armed="", ran="flash"), required="flash").status == 0


def test_a_receipt_that_nobody_wrote_is_a_failure():
    assert outcome(notes(armed=""), receipt=Path("r.json")).status == 125
    assert outcome(notes(armed="", written="r.json"), receipt=Path("r.json")).status == 0


def test_notes_are_read_back(tmp_path, monkeypatch):
    monkeypatch.setenv(checkin.VARIABLE, str(tmp_path))
    checkin.note(checkin.ARMED)
    checkin.note(checkin.TRIPPED, "flash – at «a»")
    assert checkin.claim("receipt")
    assert not checkin.claim("receipt")
    found = read_notes(tmp_path)
    assert found.of(checkin.TRIPPED) == ["flash – at «a»"]
    assert found.count(checkin.ARMED) == 1


def test_a_folder_that_is_gone_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv(checkin.VARIABLE, str(tmp_path / "gone"))
    checkin.note(checkin.ARMED)
