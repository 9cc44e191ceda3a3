"""Shell scripts: flags, variables and install commands."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.files.dependencies import finding as dependency
from attnswitch.source.files.dependencies import install_line
from attnswitch.source.given_files import flag_value
from attnswitch.source.records import Finding
from attnswitch.source.tree import SourceFile

_WORDS = (
    *("flash", "attn", "attention", "xformers", "sdp", "nvte"),
    *("mem_eff", "mem-eff", "memory_eff", "memory-eff"),
)
_FLAG = re.compile(r"(?<![\w-])--([A-Za-z][\w.-]*)(?:[ =]+(\"[^\"]*\"|'[^']*'|[^\s\\-][^\s\\]*))?")
_SET = re.compile(r"(?:^|[\s;])(?:export\s+|ENV\s+)?([A-Z][A-Z0-9_]{3,})=(\S+)")
_ENTRY = re.compile(r"\b(\w*attn_implementation|use_flash_att\w*|attn_impl)=([\w-]+)")


def detect(file: SourceFile) -> Iterator[Finding]:
    """Yield findings line by line; comments and echoed text are left out."""
    yield from detect_variables(file)
    for number, line in _telling_lines(file.text):
        code = _code(line)
        name = install_line(code)
        if name:
            yield dependency(file, number, name, "live", "an install command")
            continue
        for match in _FLAG.finditer(code):
            yield from _flag(file, number, match.group(1), match.group(2))
        for match in _ENTRY.finditer(_FLAG.sub(_keep_text, code)):
            yield from _flag(file, number, match.group(1), match.group(2), "")


def _telling_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that name a kernel or a way to choose one; few scripts have any."""
    low = text.lower()
    if not any(word in low for word in _WORDS):
        return
    for number, line in enumerate(text.splitlines(), 1):
        if any(word in line.lower() for word in _WORDS):
            yield number, line


def _keep_text(match: re.Match[str]) -> str:
    name = match.group(1).replace("-", "_").split(".")[-1]
    return "" if words.is_setting(name) or words.is_switch(name) else match.group(0)


def _code(line: str) -> str:
    stripped = line.lstrip()
    if stripped.startswith(("#", "echo ", "printf ")):
        return ""
    return re.sub(r"\s#.*$", "", line)


def _flag(
    file: SourceFile, number: int, flag: str, value: str | None, dashes: str = "--"
) -> Iterator[Finding]:
    name = flag.replace("-", "_").split(".")[-1]
    if not (words.is_setting(name) or words.is_switch(name)):
        return
    plain = flag_value((value or "").strip("\"'")) if value is not None else True
    family = words.family_of(plain) if words.is_setting(name) else words.switch_family(name, plain)
    effect = {"flash": "enables", "xformers": "enables", "sdpa": "enables"}.get(family or "")
    effect = effect or ("forbids" if family in {"eager", "off"} else "passes")
    says = {
        "flash": "asks for FlashAttention",
        "xformers": "asks for xformers",
        "sdpa": "asks for SDPA, which may still run FlashAttention",
        "eager": "asks for no FlashAttention",
        "off": "asks for no FlashAttention",
    }.get(family or "", "hands on a choice")
    shown = f" {value}" if value else ""
    yield Finding(
        file.path,
        number,
        "shell-flag",
        f"{says}: {dashes}{flag}{shown}",
        effect,
        target=family if family in {"xformers", "sdpa"} else "flash",
        status="live",
        reason="a script to be run",
        role=words.role_of(name),
    )


def detect_variables(file: SourceFile) -> Iterator[Finding]:
    """Variables that steer attention, set in a script or an image."""
    for number, line in _telling_lines(file.text):
        for match in _SET.finditer(_code(line)):
            name, value = match.group(1), match.group(2)
            if words.VARIABLE.search(name) and not words.NOT_A_VARIABLE.search(name):
                yield Finding(
                    file.path,
                    number,
                    "environment-variable",
                    f"sets {name}={value}",
                    "offers",
                    status="live",
                    reason="a script to be run",
                )
