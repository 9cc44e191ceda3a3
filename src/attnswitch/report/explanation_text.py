"""An explanation (`attnswitch.explanation/1`) as plain lines, alike sites gathered into ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    parts = ["\n".join(_machine(record)), "\n".join(_sites(record))]
    advice = "\n".join(_advice(record["advice"]))
    return "\n\n".join([*parts, advice] if advice else parts) + "\n"


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
    for line in record["advice"]["out"]:
        yield f"Out: {line}."


def _sites(record: Record) -> Iterator[str]:
    groups: dict[Any, list[str]] = {}
    lines: dict[Any, Record] = {}
    for line in record["sites"]:
        key = (line["role"], line["phase"], line["when"], line["planned"], line["source"],
               line["rule"], repr(line["refused"]))  # fmt: skip
        groups.setdefault(key, []).append(line["site"])
        lines.setdefault(key, line)
    above = None
    for key, sites in groups.items():
        line = lines[key]
        heading = f"{line['role']} · {line['phase']}"
        if heading != above:
            yield heading
            above = heading
        where = ", ".join(visible(name) for name in site_ranges(sites))
        when = f" when {line['when']}" if line["when"] else ""
        planned = visible(line["planned"]) if line["planned"] else "NOTHING can run"
        yield f"  {where}{when}: {planned}"
        said = "" if line["planned"] == line["requested"] else f"{visible(line['requested'])!r}, "
        yield f"    {said}{visible(line['source'])}: {visible(line['rule'])}"
        for refused in line["refused"]:
            yield f"    not {refused['backend']}: {visible('; '.join(refused['reasons']))}"


def _advice(advice: Record) -> Iterator[str]:
    if advice["dtype"]:
        flags = f" (in LLaVA's training scripts: {advice['flags']})" if advice["flags"] else ""
        yield f"Use {advice['dtype']}{flags}."
    if advice["policy"]:
        yield (
            "Use this policy, as ATTNSWITCH=policy.yaml or attnswitch.apply(model, 'policy.yaml'):"
        )
        yield ""
        yield f"    {advice['policy'].rstrip()}"
