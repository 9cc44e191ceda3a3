"""Settings in JSON, YAML and TOML: keys that choose a kernel, wherever they are nested."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.records import Finding
from attnswitch.source.tree import SourceFile

_KEY = re.compile(r"[\"']?([A-Za-z_][\w-]*)[\"']?\s*[:=](?!=)\s*(.*)$")
_QUICK = re.compile(r"flash|attn|attention_impl|xformers|sdpa", re.IGNORECASE)


def detect_json(file: SourceFile) -> Iterator[Finding]:
    """Keys of a JSON file, found by line; a file that does not parse is left alone."""
    if not _QUICK.search(file.text):
        return
    try:
        json.loads(file.text)
    except (ValueError, RecursionError):
        return
    for number, line in enumerate(file.text.splitlines(), 1):
        for match in re.finditer(r'"([A-Za-z_]\w*)"\s*:\s*("[^"]*"|true|false|null|[\d.]+)', line):
            yield from _judge(file, number, match.group(1), _plain(match.group(2)))


def detect_yaml(file: SourceFile) -> Iterator[Finding]:
    """Keys of a YAML file, line by line, so that templates and tags do not matter."""
    if not _QUICK.search(file.text):
        return
    for number, line in enumerate(file.text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        match = _KEY.match(re.sub(r"\s#.*$", "", line).strip().removeprefix("- "))
        if match and ":" in line and _written(match) not in {"|", ">", ""}:
            yield from _judge(file, number, match.group(1), _plain(_written(match)))


def detect_toml(file: SourceFile) -> Iterator[Finding]:
    """Keys of a TOML file, line by line."""
    if not _QUICK.search(file.text):
        return
    for number, line in enumerate(file.text.splitlines(), 1):
        code = re.sub(r"\s#.*$", "", line).strip()
        match = _KEY.match(code)
        if match and "=" in code and not code.startswith("#"):
            yield from _judge(file, number, match.group(1), _plain(_written(match)))


def _written(match: re.Match[str]) -> str:
    """The value beside a key, without the comma behind it."""
    return match.group(2).rstrip().removesuffix(",").rstrip()


def _plain(text: str) -> object:
    low = text.strip().strip("\"'").lower()
    if low in {"true", "yes", "on"}:
        return True
    if low in {"false", "no", "off"}:
        return False
    if low in {"null", "none", "~"}:
        return None
    return text.strip().strip("\"'")


def _judge(file: SourceFile, number: int, key: str, value: object) -> Iterator[Finding]:
    name = key.replace("-", "_")
    if name in words.CAPABILITY or not (words.is_setting(name) or words.is_switch(name)):
        return
    if isinstance(value, str) and (len(value) > 60 or " " in value):
        return
    setting = words.is_setting(name)
    family = words.family_of(value) if setting else words.switch_family(name, value)
    if setting and isinstance(value, bool):
        family = "flash" if value else "off"
    asks = family in {"flash", "xformers", "sdpa", "triton"}
    effect = "enables" if asks else "forbids" if family in {"eager", "off"} else "passes"
    trap = None
    if name == "attn_implementation" and asks:
        trap = "overwritten by transformers: only _attn_implementation is read"
    yield Finding(
        file.path,
        number,
        "config-field",
        f"the field {key} says {value!r}",
        effect,
        target=family if family in {"xformers", "sdpa"} else "flash",
        status="unknown",
        reason="read when this file is loaded",
        role=words.role_of(name),
        trap=trap if file.path.endswith("config.json") else None,
    )
