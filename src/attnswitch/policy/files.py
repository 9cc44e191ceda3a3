"""Read a policy: from a YAML or JSON file, or from a Python mapping. Its first form is one line.

    use_flash_attention: false      # the same as `attn: standard`; true is strict `attn: flash`

Every complaint about a file names the file, the line, and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnswitch.errors import PolicyError, RequestError, did_you_mean
from attnswitch.policy.requests import Request, parse_request

ALLOWED_KEYS = ("attn", "use_flash_attention")
ALLOWED = "`use_flash_attention: true|false` or `attn: <request>`"


@dataclass(frozen=True)
class _Entry:
    """One top-level key, its value, and where it stands; a Python mapping has no lines."""

    key: str
    value: Any
    path: str | None = None
    line: int | None = None

    def wrong(self, message: str) -> PolicyError:
        return PolicyError(message, path=self.path, line=self.line)


def read_policy(path: str | Path, source: str | None = None) -> Request:
    """Return the request that a policy file makes; its source names the file and the line.

    Raises:
        PolicyError: the file is missing, is no YAML or JSON mapping, or has a key or value that
            is not allowed.
    """
    entries = _entries_of_file(Path(path))
    if not entries:
        raise PolicyError(f"says nothing; write {ALLOWED}", path=str(path))
    return _request(entries, source)


def request_from_mapping(policy: Mapping[str, Any], source: str) -> Request:
    """Return the request that a policy given as a Python mapping makes.

    Raises:
        PolicyError: a key or value is not allowed.
    """
    if not policy:
        raise PolicyError(f"{source}: the policy says nothing; write {ALLOWED}")
    return _request([_Entry(str(key), value) for key, value in policy.items()], source)


def _request(entries: list[_Entry], source: str | None) -> Request:
    for entry in entries:
        if entry.key not in ALLOWED_KEYS:
            hint = did_you_mean(entry.key, ALLOWED_KEYS)
            raise entry.wrong(f"unknown key {entry.key!r}{hint}; allowed: {ALLOWED}")
    if len(entries) > 1:
        both = " and ".join(entry.key for entry in entries)
        raise entries[1].wrong(f"{both} say the same thing: keep one")
    return _request_of(entries[0], source)


def _request_of(entry: _Entry, source: str | None) -> Request:
    where = f"{entry.path}:{entry.line}" if entry.path else ""
    said_at = f"{source} ({where})" if source and where else source or where
    if entry.key == "use_flash_attention":
        if not isinstance(entry.value, bool):
            raise entry.wrong(f"use_flash_attention is true or false, not {entry.value!r}")
        return Request("flash" if entry.value else "standard", "family", said_at)
    if not isinstance(entry.value, str):
        hint = " (YAML reads off and no as false)" if isinstance(entry.value, bool) else ""
        raise entry.wrong(f"attn is a request, not {entry.value!r}{hint}; write attn: standard")
    try:
        request = parse_request(entry.value, said_at)
    except RequestError as error:
        raise entry.wrong(str(error).removeprefix(f"{said_at}: ")) from None
    if request.kind == "policy":
        raise entry.wrong("attn cannot name another policy file")
    return request


def _entries_of_file(path: Path) -> list[_Entry]:
    """The top-level keys with their lines; YAML reads JSON too."""
    import yaml

    node = _parse(path)
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        raise PolicyError(f"must be a mapping: {ALLOWED}", path=str(path), line=1)
    loader = yaml.SafeLoader("")
    found: list[_Entry] = []
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node, deep=True))
        value = loader.construct_object(value_node, deep=True)
        entry = _Entry(key, value, str(path), key_node.start_mark.line + 1)
        if any(other.key == key for other in found):
            raise entry.wrong(f"{key} stands twice")
        found.append(entry)
    return found


def _parse(path: Path) -> Any:
    import yaml

    try:
        return yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise PolicyError("there is no such policy file", path=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"cannot be read: {error}", path=str(path)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark else None
        raise PolicyError(
            f"is no valid YAML or JSON: {problem}", path=str(path), line=line
        ) from None
