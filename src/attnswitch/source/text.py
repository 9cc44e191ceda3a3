"""A scan as text for people: what is on, where it is decided, what to do."""

from __future__ import annotations

from collections import Counter

from attnswitch.source.records import EntryPoint, Finding, Scan

_MEANING = {"on": "ON", "off": "off", "depends": "depends"}


def render(scan: Scan, every: bool = False) -> str:
    """The report of `attnswitch scan`; `every` lists tools and dead findings too."""
    parts = [_entry_points(scan, every), _findings(scan, every), _skipped(scan), _summary(scan)]
    return "\n\n".join(part for part in parts if part)


def _entry_points(scan: Scan, every: bool) -> str:
    shown = [e for e in scan.entry_points if every or e.kind != "tool" or e.flash != "off"]
    if not shown:
        return "No program of this tree loads a model."
    lines = ["Entry points"]
    for group in _grouped(shown):
        entry = group[0]
        names = [e.path for e in group]
        head = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        state = _MEANING[entry.flash]
        if entry.flash == "depends" and entry.default in {"on", "off"}:
            state += f", {entry.default} by default"
        lines.append(f"  {head} ({entry.kind}): FlashAttention {state}")
        lines.append(f"      {entry.because}")
        if entry.depends_on:
            lines.append(f"      depends on: {', '.join(entry.depends_on)}")
        lines.append(f"      turn it off: {entry.turn_off}")
    return "\n".join(lines)


def _grouped(entries: list[EntryPoint]) -> list[list[EntryPoint]]:
    """Programs with the same verdict for the same reason are shown as one."""
    groups: dict[tuple[str, str, str], list[EntryPoint]] = {}
    for entry in entries:
        groups.setdefault((entry.kind, entry.flash, entry.because), []).append(entry)
    return list(groups.values())


def _findings(scan: Scan, every: bool) -> str:
    shown = [f for f in scan.findings if every or f.status != "dead"]
    if not shown:
        return "Nothing in this tree speaks of FlashAttention, xformers or SDPA."
    lines = ["Findings"]
    path = None
    for finding in shown:
        if finding.path != path:
            path = finding.path
            lines.append(f"  {path}")
        lines.append(f"    {finding.line:>5}  {_line(finding)}")
    hidden = len(scan.findings) - len(shown)
    if hidden:
        lines.append(f"  ({hidden} in dead code are not shown; --all shows them)")
    return "\n".join(lines)


def _line(finding: Finding) -> str:
    text = f"{finding.mechanism} [{finding.status}] {finding.message}"
    return f"{text} (trap: {finding.trap})" if finding.trap else text


def _skipped(scan: Scan) -> str:
    if not scan.skipped:
        return ""
    shown = [f"  {s.path}: {s.reason}" for s in scan.skipped[:20]]
    if len(scan.skipped) > 20:
        shown.append(f"  and {len(scan.skipped) - 20} more (all of them in the JSON)")
    return "\n".join(["Passed over", *shown])


def _summary(scan: Scan) -> str:
    states = Counter(f.status for f in scan.findings)
    programs = Counter(e.flash for e in scan.entry_points if e.kind != "tool")
    fixed = len(scan.hard_coded())
    return (
        f"{len(scan.findings)} findings in {scan.files} files "
        f"({states['live']} live, {states['dead']} dead, {states['unknown']} unknown; "
        f"{fixed} hard-coded). "
        f"{sum(programs.values())} programs: {programs['on']} on, {programs['off']} off, "
        f"{programs['depends']} depending. {scan.seconds:.1f} s"
    )
