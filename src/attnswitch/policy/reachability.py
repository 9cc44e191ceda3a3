"""Rules that can never match: they contradict themselves, or those above take all their calls."""

from __future__ import annotations

from attnswitch.errors import PolicyError
from attnswitch.policy.regions import covered, possible, region_of
from attnswitch.policy.rules import Policy, Rule


def refuse_dead_rules(policy: Policy) -> None:
    """Raise for the first rule that can never match.

    Raises:
        PolicyError: names the rule, and the rules above that leave it nothing.
    """
    above: list[Rule] = []
    for rule in policy.rules:
        calls = possible(region_of(rule.when))
        if not calls:
            raise _error(rule, policy, "can never match: no call has " + str(rule))
        if covered(calls, [region_of(other.when) for other in above]):
            raise _error(rule, policy, _unreachable(rule, above))
        above.append(rule)


def _unreachable(rule: Rule, above: list[Rule]) -> str:
    calls = possible(region_of(rule.when))
    alone = [o for o in above if covered(calls, [region_of(o.when)])]
    if not alone:
        takers = ", ".join(_line(other) for other in _takers(rule, above))
        return f"is never reached: together, the rules above it take all its calls ({takers})"
    taker = alone[0]
    if set(taker.when) == set(rule.when) and taker.use != rule.use:
        return (
            f"contradicts the one at {_line(taker)}: under the same conditions that asks for "
            f"{taker.use.word!r}, this for {rule.use.word!r}, and the first wins"
        )
    return f"is never reached: the one at {_line(taker)} takes all its calls; move it up or out"


def _takers(rule: Rule, above: list[Rule]) -> list[Rule]:
    """Those above that are needed to take all its calls."""
    needed = list(above)
    calls = possible(region_of(rule.when))
    for other in above:
        fewer = [one for one in needed if one is not other]
        if covered(calls, [region_of(one.when) for one in fewer]):
            needed = fewer
    return needed


def _error(rule: Rule, policy: Policy, message: str) -> PolicyError:
    path, _, line = rule.where.rpartition(":")
    if path and line.isdigit():
        return PolicyError(f"this rule {message}", path=path, line=int(line))
    return PolicyError(f"{rule.where} {message}", path=policy.path or None)


def _line(rule: Rule) -> str:
    path, _, line = rule.where.rpartition(":")
    return f"line {line}" if path and line.isdigit() else rule.where
