"""An explanation (`attnswitch.explanation/1`) as plain lines, alike sites gathered into ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attnswitch.report.quantities import count_text
from attnswitch.report.record_schema import require_schema
from attnswitch.report.safe_text import visible
from attnswitch.report.site_ranges import site_ranges

Record = dict[str, Any]
SCHEMA = "attnswitch.explanation/1"


def explanation_text(record: Record) -> str:
    """The record as text.

    Raises:
        InputError: `record` is no explanation record.
    """
    require_schema(record, SCHEMA)
    parts = [_machine(record), _answer(record), _advice(record["advice"]), _sites(record)]
    blocks = ["\n".join(part) for part in parts]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _machine(record: Record) -> Iterator[str]:
    machine, request = record["machine"], record["request"]
    capability = f", compute capability {machine['capability']}" if machine["capability"] else ""
    here = "this machine" if machine["here"] else f"hardware profile {machine['profile']}"
    yield f"{visible(machine['title'])}{capability} ({here}), {machine['dtype'] or 'any dtype'}"
    yield (
        f"{visible(record['model'])} under {visible(request['word'])!r}, asked for by "
        f"{visible(request['source'])}"
    )
    if machine["note"]:
        yield f"Note: {machine['note']}."


def _answer(record: Record) -> Iterator[str]:
    """What would run, at how many sites; then what is out, and how that shows."""
    planned: dict[str, set[str]] = {}
    for line in record["sites"]:
        planned.setdefault(line["planned"] or "", set()).add(line["site"])
    nothing = planned.pop("", set())
    runs = [f"{visible(name)} at {count_text(len(at), 'site')}" for name, at in planned.items()]
    if nothing:
        yield f"This CANNOT RUN: nothing can serve {count_text(len(nothing), 'site')}."
    if runs:
        yield f"{'Elsewhere runs' if nothing else 'Runs'}: {', '.join(runs)}."
    advice = record["advice"]
    if nothing or advice["dtype"]:
        yield from (f"  out: {line}" for line in advice["out"])
    if nothing:
        yield from (f"  a program that asks for it stops with: {line}" for line in advice["errors"])


def _sites(record: Record) -> Iterator[str]:
    """Sites that are told alike together, and phases too."""
    alike: dict[Any, list[Record]] = {}
    for line in record["sites"]:
        key = (line["role"], line["when"], line["planned"], line["source"], line["rule"],
               repr(line["refused"]))  # fmt: skip
        alike.setdefault(key, []).append(line)
    above = None
    for lines in alike.values():
        line = lines[0]
        phases = " and ".join(dict.fromkeys(one["phase"] for one in lines))
        heading = f"{line['role']} · {phases}"
        if heading != above:
            yield heading
            above = heading
        where = ", ".join(visible(name) for name in site_ranges(one["site"] for one in lines))
        when = f" when {line['when']}" if line["when"] else ""
        planned = visible(line["planned"]) if line["planned"] else "NOTHING can run"
        yield f"  {where}{when}: {planned}"
        said = "" if line["planned"] == line["requested"] else f"{visible(line['requested'])!r}, "
        yield f"    {said}{visible(line['source'])}: {visible(line['rule'])}"
        for refused in line["refused"]:
            yield f"    not {refused['backend']}: {visible('; '.join(refused['reasons']))}"


def _advice(advice: Record) -> Iterator[str]:
    if not (advice["dtype"] or advice["policy"]):
        return
    yield "What to do"
    if advice["dtype"] and advice["flags"]:
        yield f"  compute in {advice['dtype']}; in LLaVA's training scripts: {advice['flags']}"
    elif advice["dtype"]:
        yield f"  compute in {advice['dtype']}"
    if advice["policy"]:
        yield f"  run the script as it is otherwise, train_mem.py too: {advice['command']}"
        yield f"  or in code: attnswitch.apply(model, {advice['request']!r}); or as a policy file:"
        yield f"    {advice['policy'].rstrip()}"
