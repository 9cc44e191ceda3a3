"""A backend that judges, at every site that takes one.

Where a model computes attention in its own code alone (Gemma 4's ears, SAM's relative positions),
nothing else can run there: that code is left as it is, in every run alike, and what it puts out is
judged with the whole runs but not by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from attnswitch.policy.conditions import read_condition
from attnswitch.policy.requests import Request
from attnswitch.policy.rules import Policy, Rule
from attnswitch.sites import find_sites, takes_sdpa


def where_possible(model: Any, request: Request) -> Request:
    """`request` for every site of `model` but those of `own_code`, under the same word."""
    own = own_code(model)
    if not own:
        return request
    leave = Rule((read_condition("site", own),), Request("auto", "auto", request.source))
    return replace(request, kind="rules", policy=Policy((leave,), otherwise=request))


def own_code(model: Any) -> list[str]:
    """Paths of the sites that take no other kernel than the model's own code."""
    return [path for path, (site, _) in find_sites(model).items() if not takes_sdpa(model, site)]


def said_of(own: Sequence[str]) -> str:
    """A sentence on the sites that were not judged by themselves; none where there are none."""
    if not own:
        return ""
    more = f" and {len(own) - 1} more" if len(own) > 1 else ""
    return f" Not judged by itself: the model's own code at {own[0]}{more}."


@contextmanager
def those_that_run(model: Any, paths: Iterable[str]) -> Iterator[list[str]]:
    """The modules at `paths` whose forward runs inside the block, in the order of their first."""
    ran: dict[str, None] = {}
    handles = [
        model.get_submodule(path).register_forward_pre_hook(
            lambda *_, p=path: ran.update({p: None})
        )
        for path in paths
    ]
    found: list[str] = []
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
        found += ran
