"""The newest runs against the ones before: a planted slowdown is found, unchanged code is not."""

from __future__ import annotations

import math

import pytest

from attnswitch.errors import InputError
from attnswitch.history.checking import check, figure_of, sides
from attnswitch.history.comparing import compare_runs
from tests.history.made_up import Machine

SETTINGS = {"tolerance": 0.01, "detect": 0.05}


def checked(machine: Machine, slower=None, count: int = 10, **more):
    before, old_rows = machine.runs(count)
    after, new_rows = machine.runs(count, slower=slower, code="bbbb")
    rows = [*old_rows, *new_rows]
    return check(sides([*before, *after], rows), rows, **SETTINGS, **more)


def test_a_planted_slowdown_of_5_percent_is_found_with_ten_runs_a_side():
    found = [checked(Machine(seed), {"standard": 1.05}) for seed in range(10)]
    hits = [[one.request for one in result.slower] for result in found]
    assert sum(hit == ["standard"] for hit in hits) >= 8
    assert all(set(hit) <= {"standard"} for hit in hits)
    ratios = [next(f for f in r.findings if f.request == "standard").ratio for r in found]
    assert all(1.02 < ratio.median < 1.08 for ratio in ratios)


def test_unchanged_code_does_not_alarm_though_the_machine_wanders():
    alarms = [checked(Machine(seed)).slower for seed in range(100, 120)]
    assert sum(map(bool, alarms)) <= 1


@pytest.mark.slow
def test_a_hundred_checks_of_unchanged_code_alarm_five_times_at_most():
    assert sum(bool(checked(Machine(seed)).slower) for seed in range(1000, 1100)) <= 5


def test_a_machine_that_is_slower_as_a_whole_is_told_apart():
    everything = dict.fromkeys(("flash", "standard", "eager"), 1.0)
    machine = Machine(5)
    before, old_rows = machine.runs(10)
    after, new_rows = machine.runs(10, slower=everything, code="bbbb")
    for row in new_rows:
        row.data["samples"] = [s * 1.4 for s in row.samples]
    for row in new_rows[::3]:  # one control for the three rows of a run
        row.data["control"][:] = [s * 1.4 for s in row.data["control"]]
    rows = [*old_rows, *new_rows]
    two = sides([*before, *after], rows)
    found = check(two, rows, **SETTINGS)
    assert not found.slower
    assert found.control is not None
    assert 1.2 < found.control.median < 1.6
    for row in new_rows:
        row.data["processor"] = [s * 1.4 for s in row.data["processor"]]
    assert len(check(two, rows, **SETTINGS, absolute=True).slower) == 3


def test_twenty_percent_faster_is_no_alarm():
    assert not checked(Machine(6), {"standard": 0.8}).slower


def test_the_new_side_is_the_newest_version():
    machine = Machine(7)
    runs, rows = machine.runs(12)
    more, more_rows = machine.runs(6, code="bbbb")
    two = sides([*runs, *more], [*rows, *more_rows])
    assert two.new == more
    assert two.old == runs
    many, many_rows = machine.runs(15, code="bbbb")
    two = sides([*runs, *more, *many], [*rows, *more_rows, *many_rows])
    assert len(two.new) == 10
    assert two.new[-1] == many[-1]


def test_one_version_throughout_is_cut_in_two_halves():
    runs, rows = Machine(8).runs(14)
    two = sides(runs, rows, newest=20)
    assert (two.old, two.new) == (runs[:7], runs[7:])


def test_runs_that_measured_something_else_are_left_out():
    machine = Machine(9)
    runs, rows = machine.runs(14)
    for row in rows[: 3 * 4]:
        row.data["workload"]["tokens"] = 99
    assert sides(runs, rows).old == runs[4:9]


def test_too_few_runs_say_how_to_get_more():
    runs, rows = Machine(10).runs(6)
    with pytest.raises(
        InputError, match=r"too few runs to tell: 3 before and 3 now .* --repeat 10"
    ):
        sides(runs, rows)


def test_what_else_changed_is_noted():
    machine = Machine(11)
    before, old_rows = machine.runs(6)
    after, new_rows = machine.runs(6, packages={"torch": "2.14.0", "triton": "3.5"})
    rows = [*old_rows, *new_rows]
    found = check(sides([*before, *after], rows), rows, **SETTINGS)
    assert found.notes == [
        "torch: 2.13.0 before, 2.14.0 now", "triton: None before, 3.5 now"
    ]  # fmt: skip
    assert found.to_json()["schema"] == "attnswitch.check/1"


def test_a_row_without_the_control_has_no_relative_figure():
    _, rows = Machine(12).runs(1)
    assert figure_of(rows[0]) == pytest.approx(math.log(2), abs=0.3)
    assert figure_of(rows[0], "processor") == figure_of(rows[0])
    rows[0].data["control"] = []
    assert figure_of(rows[0]) is None
    assert figure_of(rows[0], absolute=True) == pytest.approx(math.log(0.01), abs=0.5)
    rows[0].data["processor"] = [0.0] * 10  # counted in steps too coarse
    assert figure_of(rows[0], "processor") is None


def test_two_runs_row_by_row():
    machine = Machine(13)
    one, rows = machine.run()
    other, more = machine.run({"eager": 2.0})
    del more[0]
    found = compare_runs(one, other, [*rows, *more])
    by_request = {row["request"]: row for row in found["rows"]}
    assert set(by_request) == {"standard", "eager"}
    seconds, control = (by_request["eager"][k]["median"] for k in ("seconds", "control"))
    assert seconds / control == pytest.approx(2.0, rel=0.15)
    assert [one["request"] for one in found["only_old"]] == ["flash"]
    assert found["same_machine"] is True
