"""JSON Lines: the way out and back is without loss, and a bad line is one clear line."""

from __future__ import annotations

import json

import pytest

from attnswitch.errors import InputError
from attnswitch.record.clean_text import clean_text
from attnswitch.record.entries import Row, Run
from attnswitch.record.json_lines import import_into, lines, read_lines
from attnswitch.record.store import open_record
from tests.record.test_store import a_row, a_run

NASTY = [
    """'";--<script>alert("x")</script>&amp;]]>""",
    "two\nlines\r\nand\ttabs\x00\x1b[31m\x85\u2028",
    "x" * 10_000,
    "\u202eמימין לשמאל\u202c مرحبا \u2067x",
    "lone \udcff surrogate, emoji \U0001f600, e\u0301",
    "",
    "{{ 7 * 7 }} {% raw %} | a | `b` $x^2$ \\n %s",
]


def nasty_entries(text: str) -> tuple[Run, list[Row]]:
    """A run and a row whose every text is `text`."""
    run = Run.begin(
        text,
        {"processor": text, "packages": {text: text}, "devices": [{"name": text}]},
        label=text,
        settings={text: [text]},
        project={"path": text, "commit": text},
    )
    receipt = {"site": text, "role": text, "phase": text, "backend": text, "executed": [text]}
    workload = {"subject": text, "phase": text, "dtype": text, "tokens": 3}
    row = a_row(run, request=text, cell=text, workload=workload, receipts=[receipt], reasons=[text])
    return run, [row]


@pytest.mark.parametrize("text", NASTY)
def test_any_text_in_every_field_goes_out_and_comes_back(tmp_path, text):
    run, rows = nasty_entries(text)
    with open_record(tmp_path / "one.sqlite") as record:
        record.add(run, rows)
        kept, kept_rows = record.runs(), record.rows()
    assert kept[0].label == clean_text(text)
    assert kept_rows[0].data["reasons"] == [clean_text(text)]
    if "\udcff" not in text:
        assert (kept, kept_rows) == ([run], rows)
    written = list(lines(kept, kept_rows))
    assert len("\n".join(written).split("\n")) == len(written) == 2
    again = read_lines(written, "f.jsonl")
    with open_record(tmp_path / "two.sqlite") as other:
        assert import_into(other, *again) == 1
        assert import_into(other, *again) == 0
        assert list(lines(other.runs(), other.rows())) == written


def test_lines_of_several_files_can_be_put_together():
    one, other = a_run(), a_run()
    text = [*lines([one], [a_row(one)]), "", *lines([other], [a_row(other)])]
    runs, rows = read_lines(text, "both.jsonl")
    assert [run.id for run in runs] == [one.id, other.id]
    assert [row.run for row in rows] == [one.id, other.id]


def good() -> list[dict]:
    run = a_run()
    return [json.loads(line) for line in lines([run], [a_row(run)])]


def without(name: str):
    def change(told):
        del told[1]["row"][name]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told.__setitem__(1, "{"), "f.jsonl:2: no valid JSON"),
        (lambda told: told.__setitem__(0, [1]), "f.jsonl:1: not a line of a record"),
        (lambda told: told[0].update(schema="attnswitch.trace/1"), "1: not a line of a record"),
        (lambda told: told[1].update(schema="attnswitch.record/9"), "2: of version '9'"),
        (lambda told: told[1].update(schema="attnswitch.record/x"), "2: of version 'x'"),
        (lambda told: told[1].pop("row"), "2: neither a run nor a row"),
        (lambda told: told[0]["run"].pop("id"), "1: a run without 'id'"),
        (without("workload"), "2: a row without 'workload'"),
        (lambda told: told[1]["row"].update(status="good"), "2: a row whose status"),
        (lambda told: told.pop(0), "f.jsonl: the run .* has rows, but no line of its own"),
    ],
)
def test_a_bad_line_is_one_clear_line(change, message):
    told = good()
    change(told)
    text = [line if isinstance(line, str) else json.dumps(line) for line in told]
    with pytest.raises(InputError, match=message):
        read_lines(text, "f.jsonl")


def test_lines_of_version_1_are_read():
    told = good()
    for one in told:
        one["schema"] = "attnswitch.record/1"
    machine = told[0]["run"].pop("machine")
    runs, _ = read_lines([json.dumps(one) for one in told], "f.jsonl")
    assert runs[0].machine == machine
