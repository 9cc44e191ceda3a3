"""A scan as text for people: the answer first, then who is on and why, then the places."""

from __future__ import annotations

import textwrap
from collections import Counter

from attnswitch.source.records import EntryPoint, Finding, Scan

#: What is shown without --all: blocks of programs under a verdict, findings, files passed over.
_MOST_BLOCKS, _MOST_FINDINGS, _MOST_SKIPPED = 8, 40, 5
_HEADS = {"on": "On", "depends": "Depends", "off": "Off"}
_MARKS = (". language model", ". vision tower", ". xformers", ". PyTorch's SDPA", "; cannot start")


def render(scan: Scan, every: bool = False, width: int = 100) -> str:
    """The report of `attnswitch scan`; `every` shows all of it, tools and dead code included."""
    shown = [e for e in scan.entry_points if every or e.kind != "tool" or e.flash != "off"]
    parts = [_answer(scan, shown, width)]
    for flash in ("on", "depends"):
        parts.append(_blocks([e for e in shown if e.flash == flash], every, width))
    off = [e for e in shown if e.flash == "off"]
    parts.append(_blocks(off, every, width) if every else _names(off, width))
    parts += [_findings(scan, every, width), _skipped(scan, every, width), _counts(scan)]
    return "\n\n".join(part for part in parts if part)


def _answer(scan: Scan, shown: list[EntryPoint], width: int) -> str:
    programs = Counter(e.flash for e in shown if e.kind != "tool")
    total = sum(programs.values())
    if not total:
        first = f"No program in {scan.root} loads a model."
    else:
        first = (
            f"FlashAttention in {scan.root}: on in {programs['on']} of {total} programs, "
            f"off in {programs['off']}, depends on the user or the machine in "
            f"{programs['depends']}."
        )
    fixed = [f"{f.path}:{f.line}" for f in scan.hard_coded()]
    if not fixed:
        second = "No live code hard-codes it."
    else:
        second = f"Hard-coded at {len(fixed)} place{'s' * (len(fixed) > 1)}: {_some(fixed)}."
    return "\n".join(_wrap(line, "", width, hanging=0) for line in (first, second))


def _blocks(entries: list[EntryPoint], every: bool, width: int) -> str:
    """Programs of one verdict, each kind of reason once."""
    if not entries:
        return ""
    alone, starters = _with_starters(entries)
    groups = _grouped(alone)
    lines = [f"{_HEADS[entries[0].flash]} ({len(entries)})"]
    for group in groups if every else groups[:_MOST_BLOCKS]:
        scripts = [path for e in group for path in starters.get(e.path, ())]
        lines += _block(group, scripts, every, width)
    hidden = sum(
        1 + len(starters.get(e.path, ())) for group in groups[_MOST_BLOCKS:] for e in group
    )
    if hidden and not every:
        lines.append(f"  and {hidden} more programs for other reasons (--all shows them)")
    return "\n".join(lines)


def _with_starters(entries: list[EntryPoint]) -> tuple[list[EntryPoint], dict[str, list[str]]]:
    """Scripts that get what the program gets by itself are named under it."""
    programs = {e.path: e for e in entries if e.launches is None}
    alone: list[EntryPoint] = []
    starters: dict[str, list[str]] = {}
    for entry in entries:
        program = programs.get(entry.launches or "")
        if program is not None and _verdict(program) == _verdict(entry):
            starters.setdefault(program.path, []).append(entry.path)
        else:
            alone.append(entry)
    return alone, starters


def _verdict(entry: EntryPoint) -> tuple[str, str, str]:
    return entry.language_model, entry.vision_tower, entry.default


def _block(group: list[EntryPoint], scripts: list[str], every: bool, width: int) -> list[str]:
    entry = group[0]
    names = [e.path for e in group]
    state = f", {entry.default} by default" if entry.default not in {"", entry.flash} else ""
    head = f"{', '.join(names) if every else _some(names)} ({entry.kind}{state})"
    lines = [_wrap(head, "  ", width)]
    if scripts:
        by = ", ".join(scripts) if every else _some(scripts)
        lines.append(_wrap(f"started by {by}", "      ", width))
    reasons = _started(entry, len(group) > 1) if entry.launches else entry.because
    for mark in _MARKS:
        reasons = reasons.replace(mark, "\n" + mark[2:])
    lines += [_wrap(reason, "      ", width) for reason in reasons.split("\n")]
    if entry.depends_on:
        lines.append(_wrap(f"depends on: {', '.join(entry.depends_on)}", "      ", width))
    lines.append(_wrap(f"turn it off: {entry.turn_off}", "      ", width))
    return lines


def _started(entry: EntryPoint, several: bool) -> str:
    """What a script starts, on a line of its own; of several scripts, without their options."""
    starts, colon, verdict = entry.because.partition(": language model")
    if not colon:
        return entry.because
    return f"{f'start {entry.launches}' if several else starts}\nlanguage model{verdict}"


def _grouped(entries: list[EntryPoint]) -> list[list[EntryPoint]]:
    """Programs with the same verdict for the same reason, and scripts that start the same."""
    groups: dict[object, list[EntryPoint]] = {}
    for entry in entries:
        why = entry.because if entry.launches is None else tuple(entry.decided_by)
        parts = (entry.language_model, entry.vision_tower, entry.launches)
        groups.setdefault((entry.kind, entry.default, parts, why), []).append(entry)
    return list(groups.values())


def _names(entries: list[EntryPoint], width: int) -> str:
    """Programs that do not ask for it: their names will do."""
    if not entries:
        return ""
    lines = [f"Off ({len(entries)})"]
    kinds: dict[str, list[str]] = {}
    for entry in entries:
        kinds.setdefault(entry.kind, []).append(entry.path)
    lines += [_wrap(f"{kind}: {_some(names)}", "  ", width) for kind, names in kinds.items()]
    if any(e.sdpa for e in entries):
        lines.append(
            _wrap(
                "There PyTorch's SDPA may still run its own FlashAttention kernel; "
                "ATTNSWITCH=standard bars that too.",
                "  ",
                width,
            )
        )
    return "\n".join(lines)


def _findings(scan: Scan, every: bool, width: int) -> str:
    live = [f for f in scan.findings if every or f.status != "dead"]
    if not live:
        dead = " in live code" if scan.findings else ""
        return f"Nothing{dead} here speaks of FlashAttention, xformers or SDPA."
    telling = sorted(live, key=lambda f: not (f.fixed or f.trap))
    shown = telling if every else telling[:_MOST_FINDINGS]
    lines = ["Places"]
    path = None
    for finding in sorted(shown, key=lambda f: (f.path, f.line)):
        if finding.path != path:
            path = finding.path
            lines.append(f"  {path}")
        lines.append(_wrap(f"{finding.line:>5}  {_line(finding)}", "    ", width, 7))
    rest = telling[len(shown) :]
    if rest:
        kinds = Counter(f.mechanism for f in rest).most_common(4)
        text = ", ".join(f"{name} {count}" for name, count in kinds)
        lines.append(_wrap(f"and {len(rest)} more ({text}, …): --all shows them", "  ", width))
    dead_ones = len(scan.findings) - len(live)
    if dead_ones:
        lines.append(f"  {dead_ones} in dead code are not shown; --all shows them")
    return "\n".join(lines)


def _line(finding: Finding) -> str:
    marks = [m for m in (finding.status, "hard-coded" if finding.fixed else "") if m]
    text = f"{finding.mechanism} [{', '.join(marks)}] {finding.message}"
    return f"{text} (trap: {finding.trap})" if finding.trap else text


def _skipped(scan: Scan, every: bool, width: int) -> str:
    if not scan.skipped:
        return ""
    most = len(scan.skipped) if every else _MOST_SKIPPED
    shown = [_wrap(f"{s.path}: {s.reason}", "  ", width) for s in scan.skipped[:most]]
    if len(scan.skipped) > most:
        shown.append(f"  and {len(scan.skipped) - most} more: --all shows them")
    return "\n".join(["Passed over", *shown])


def _counts(scan: Scan) -> str:
    states = Counter(f.status for f in scan.findings)
    return (
        f"{len(scan.findings)} places in {scan.files} files: {states['live']} live, "
        f"{states['dead']} dead, {states['unknown']} unknown. {scan.seconds:.1f} s"
    )


def _some(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _wrap(text: str, indent: str, width: int, hanging: int = 2) -> str:
    """Wrap at blanks alone: a path or an option stays whole, so that it can be copied."""
    return textwrap.fill(
        text,
        max(width, 40),
        initial_indent=indent,
        subsequent_indent=indent + " " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
