"""A policy: rules in order, the first that matches wins, and what holds where none does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from attnswitch.policy.conditions import Condition, Facts
from attnswitch.policy.requests import Request


@dataclass(frozen=True)
class Rule:
    """When all conditions hold, `use`; `where` is the file and line, or the rule's number."""

    when: tuple[Condition, ...]
    use: Request
    because: str = ""
    where: str = field(default="", compare=False)

    def holds(self, facts: Facts) -> bool | None:
        """Whether every condition holds; None where that cannot be told yet."""
        left = self.left_open(facts)
        if left is None:
            return False
        return None if left else True

    def left_open(self, facts: Facts) -> tuple[Condition, ...] | None:
        """The conditions that `facts` do not settle; None where one does not hold."""
        left = []
        for condition in self.when:
            holds = condition.holds(facts)
            if holds is False:
                return None
            if holds is None:
                left.append(condition)
        return tuple(left)

    def __str__(self) -> str:
        return " and ".join(map(str, self.when)) or "always"


@dataclass(frozen=True)
class Remaining:
    """A rule that can still match, and those of its conditions that are still open."""

    left: tuple[Condition, ...]
    rule: Rule


@dataclass(frozen=True)
class Policy:
    """What a policy file says. Two are equal where they say the same, wherever they stand.

    `otherwise` is what its top line asks for. `override` lets it win over other settings that
    contradict it.
    """

    rules: tuple[Rule, ...]
    otherwise: Request
    override: bool = False
    path: str = field(default="", compare=False)
    # What was decided at calls so far, for all sites (see `plans`).
    decided: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "decided": {}}

    @property
    def last(self) -> Rule:
        """The top line, as the rule that matches where no other does."""
        return Rule((), self.otherwise, "no rule matches", self.otherwise.source)

    def remaining(self, facts: Facts) -> tuple[Remaining, ...]:
        """The rules that can still match, in order; the last one has nothing left open."""
        found = []
        for rule in (*self.rules, self.last):
            left = rule.left_open(facts)
            if left is None:
                continue
            found.append(Remaining(left, rule))
            if not left:
                break
        return tuple(found)

    def facts_used(self) -> set[str]:
        """Names of the facts that any rule asks for."""
        return {condition.fact for condition in self._conditions()}

    def _conditions(self) -> Iterator[Condition]:
        for rule in self.rules:
            yield from rule.when
