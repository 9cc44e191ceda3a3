"""Accepted findings: a scan of yesterday, so that `--check` speaks of new ones only."""

from __future__ import annotations

import json
from collections import Counter

from attnswitch.errors import InputError
from attnswitch.source.records import SCHEMA, Finding


def key_of(path: str, mechanism: str, message: str) -> str:
    """What a finding is recognised by; its line may move."""
    return f"{path}|{mechanism}|{message}"


def read_baseline(path: str) -> Counter[str]:
    """Read the JSON of an earlier scan; raises InputError if it is none."""
    try:
        with open(path, encoding="utf-8") as handle:
            data = json.load(handle)
    except (OSError, ValueError) as error:
        raise InputError(f"baseline {path!r} cannot be read: {error}") from error
    records = data if isinstance(data, list) else [data]
    known: Counter[str] = Counter()
    for record in records:
        if not isinstance(record, dict) or record.get("schema") != SCHEMA:
            raise InputError(f"baseline {path!r} is not a scan: it lacks the schema {SCHEMA!r}")
        for item in record.get("findings", ()):
            known[key_of(item["path"], item["mechanism"], item["message"])] += 1
    return known


def accepted(finding: Finding, known: Counter[str] | None) -> bool:
    """True if the baseline has this finding; each of its findings is accepted once."""
    key = key_of(finding.path, finding.mechanism, finding.message)
    if known is None or not known[key]:
        return False
    known[key] -= 1
    return True
