"""Read a policy: from a YAML or JSON file, or from a Python mapping. Its first form is one line.

    use_flash_attention: false      # the same as `attn: standard`; true is strict `attn: flash`

Its second form has rules; the first that matches wins, and `attn` is for what none matches:

    attn: auto
    rules:
      - when: {role: vision_tower, dtype: bfloat16}
        use: standard
        because: the vision features drift under FlashAttention

Every complaint about a file names the file, the line, and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnswitch.errors import PolicyError, RequestError, did_you_mean
from attnswitch.policy.conditions import read_condition
from attnswitch.policy.entries import Entry, entries_of_file, entries_of_mapping
from attnswitch.policy.reachability import refuse_dead_rules
from attnswitch.policy.requests import Request, parse_request
from attnswitch.policy.rules import Policy, Rule

SWITCHES = ("attn", "use_flash_attention")
ALLOWED_KEYS = (*SWITCHES, "rules", "override")
RULE_KEYS = ("when", "use", "because")
ALLOWED = "`use_flash_attention: true|false` or `attn: <request>`, and `rules`"


def read_policy(path: str | Path, source: str | None = None) -> Request:
    """Return the request that a policy file makes; its source names the file and the line.

    Raises:
        PolicyError: the file is missing, is no YAML or JSON mapping, has a key or value that is
            not allowed, or a rule that can never match.
    """
    entries = entries_of_file(Path(path))
    if not entries:
        raise PolicyError(f"says nothing; write {ALLOWED}", path=str(path))
    return _request(entries, source, str(path))


def request_from_mapping(policy: Mapping[str, Any], source: str) -> Request:
    """Return the request that a policy given as a Python mapping makes.

    Raises:
        PolicyError: as for a file.
    """
    if not policy:
        raise PolicyError(f"{source}: the policy says nothing; write {ALLOWED}")
    return _request(entries_of_mapping(policy), source, "")


def _request(entries: list[Entry], source: str | None, path: str) -> Request:
    by_key = {entry.key: entry for entry in entries}
    for entry in entries:
        if entry.key not in ALLOWED_KEYS:
            hint = did_you_mean(entry.key, ALLOWED_KEYS)
            raise entry.wrong(f"unknown key {entry.key!r}{hint}; allowed: {ALLOWED}")
    switches = [entry for entry in entries if entry.key in SWITCHES]
    if len(switches) > 1:
        both = " and ".join(entry.key for entry in switches)
        raise switches[1].wrong(f"{both} say the same thing: keep one")
    override = _override(by_key.get("override"))
    if "rules" not in by_key:
        if not switches:
            raise entries[0].wrong(f"says nothing to override with; write {ALLOWED}")
        return _switch(switches[0], source, override)
    if switches:
        otherwise = _switch(switches[0], source, False)
    else:
        otherwise = Request("auto", "auto", _said_at(source, by_key["rules"]))
    rules = _rules(by_key["rules"], source)
    policy = Policy(rules, otherwise, override, path)
    refuse_dead_rules(policy)
    said_at = f"{source} ({path})" if source and path else source or path
    return Request(path or "policy", "rules", said_at, policy, override)


def _override(entry: Entry | None) -> bool:
    if entry is None:
        return False
    if not isinstance(entry.value, bool):
        raise entry.wrong(f"override is true or false, not {entry.value!r}")
    return entry.value


def _switch(entry: Entry, source: str | None, override: bool) -> Request:
    """The request of a top line."""
    said_at = _said_at(source, entry)
    if entry.key == "use_flash_attention":
        if not isinstance(entry.value, bool):
            raise entry.wrong(f"use_flash_attention is true or false, not {entry.value!r}")
        word = "flash" if entry.value else "standard"
        return Request(word, "family", said_at, override=override)
    return _asked(entry, said_at, override)


def _asked(entry: Entry, said_at: str, override: bool = False) -> Request:
    """The request of `attn` or `use`."""
    key = entry.key
    if not isinstance(entry.value, str):
        hint = " (YAML reads off and no as false)" if isinstance(entry.value, bool) else ""
        raise entry.wrong(f"{key} is a request, not {entry.value!r}{hint}; write {key}: standard")
    try:
        request = parse_request(entry.value, said_at)
    except RequestError as error:
        raise entry.wrong(str(error).removeprefix(f"{said_at}: ")) from None
    if request.kind == "policy":
        raise entry.wrong(f"{key} cannot name another policy file")
    return Request(request.word, request.kind, said_at, override=override)


def _said_at(source: str | None, entry: Entry) -> str:
    return f"{source} ({entry.where})" if source and entry.where else source or entry.where


def _rules(entry: Entry, source: str | None) -> tuple[Rule, ...]:
    items = entry.items()
    if items is None:
        raise entry.wrong("rules is a list of `- when: {…}` with `use: <request>`")
    if not items:
        raise entry.wrong("rules is empty; leave it out, or write one")
    return tuple(_rule(item, source) for item in items)


def _rule(item: Entry, source: str | None) -> Rule:
    entries = item.entries()
    nameless = f"rule {item.key}"
    where = item.where or (f"{source}, {nameless}" if source else nameless)
    if entries is None:
        raise item.wrong(f"{nameless} is no mapping; write `- when: {{…}}` with `use: <request>`")
    by_key = {entry.key: entry for entry in entries}
    for entry in entries:
        if entry.key not in RULE_KEYS:
            hint = did_you_mean(entry.key, RULE_KEYS)
            raise entry.wrong(
                f"{nameless}: unknown key {entry.key!r}{hint}; a rule has when, use and because"
            )
    for key in ("when", "use"):
        if key not in by_key:
            raise item.wrong(f"{nameless} has no `{key}`")
    said_at = f"{source} ({item.where})" if source and item.where else where
    because = by_key["because"].value if "because" in by_key else ""
    if not isinstance(because, str):
        raise by_key["because"].wrong(f"{nameless}: because is a sentence, not {because!r}")
    conditions = by_key["when"].entries()
    if not conditions:
        raise by_key["when"].wrong(
            f"{nameless}: when holds conditions; for everything else there is `attn`"
        )
    when = []
    for condition in conditions:
        try:
            when.append(read_condition(condition.key, condition.value))
        except ValueError as error:
            raise condition.wrong(f"{nameless}: {error}") from None
    when.sort(key=lambda condition: condition.fact)
    return Rule(tuple(when), _asked(by_key["use"], said_at), because, where)
