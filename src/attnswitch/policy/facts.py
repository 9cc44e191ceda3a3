"""Names for what rules speak of, and what is known of a process and of a site before it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from attnswitch.policy.conditions import Variables
from attnswitch.policy.number_ranges import capability_number
from attnswitch.policy.rules import Policy
from attnswitch.types import Circumstances, Site

# The number after one of these is the layer; else the last number on the path is.
_CONTAINERS = ("layers", "layer", "h", "blocks", "block", "resblocks", "encoder_layers")


def layer_of(path: str) -> int | None:
    """The layer that a module path names: `model.language_model.layers.3.self_attn` is in 3."""
    names = path.split(".")
    numbered = [(i, int(name)) for i, name in enumerate(names) if re.fullmatch(r"\d+", name)]
    for position, number in numbered:
        if position and names[position - 1] in _CONTAINERS:
            return number
    return numbered[-1][1] if numbered else None


def facts_of_site(site: Site) -> dict[str, Any]:
    """What is known of a site; towers and projectors are always in phase `vision`."""
    facts: dict[str, Any] = {"role": site.role, "site": site.path, "layer": layer_of(site.path)}
    if site.role in ("vision_tower", "projector"):
        facts["phase"] = "vision"
    return facts


def facts_of_circumstances(call: Circumstances) -> dict[str, Any]:
    """What circumstances say; what they leave open is left out."""
    facts: dict[str, Any] = {"device": call.device}
    if call.device != "cuda":
        facts["capability"] = None
    elif call.capability is not None:
        facts["capability"] = capability_fact(call.capability)
    if call.dtype is not None:
        facts["dtype"] = call.dtype
    if call.head_dim is not None:
        facts["head_dim"] = call.head_dim
    return facts


def capability_fact(capability: tuple[int, int]) -> int:
    """A compute capability as conditions count it."""
    return capability_number(f"{capability[0]}.{capability[1]}")


def machine_facts(
    policy: Policy, version_of: Callable[[str], str | None], variables: Mapping[str, str]
) -> dict[str, Any]:
    """Versions and environment variables, of which only those are kept that a rule names."""
    named = {
        name
        for rule in policy.rules
        for condition in rule.when
        if isinstance(condition.test, Variables)
        for name, _ in condition.test.wanted
    }
    kept = {name: variables[name] for name in named if name in variables}
    return {"packages": version_of, "environment": kept}
