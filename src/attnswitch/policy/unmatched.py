"""Patterns of module paths that match nothing in a model: more often a slip than meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnswitch.errors import did_you_mean
from attnswitch.policy.conditions import Globs
from attnswitch.policy.requests import Request


def globs_without_site(request: Request, paths: Sequence[str]) -> Iterator[str]:
    """A line for each `site` condition that no site of a model meets."""
    for rule in request.policy.rules if request.policy else ():
        for condition in rule.when:
            test = condition.test
            if isinstance(test, Globs) and not any(map(test.holds, paths)):
                hint = did_you_mean(test.patterns[0], paths)
                yield f"{rule.where}: no site of this model matches `{condition}`{hint}"
