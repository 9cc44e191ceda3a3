"""What is left of the rules at a site, to be checked at each call, in order; and remembered.

All layers of a pass make calls of one form. So what was decided is kept by the facts that rules ask
of a call (its lengths, its batch ...), for all sites at which the same is left: one layer checks
the rules, the others look the answer up. Not so in compiled code, where lengths are symbols and
become guards, nor where a mask has to be read, which may not happen before a rule asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from attnswitch.errors import UnavailableError
from attnswitch.policy.call_facts import READERS, Check, check_of, mask_form, reads_masks
from attnswitch.policy.conditions import Condition
from attnswitch.policy.rules import Remaining, Rule
from attnswitch.types import AttentionCall, Choice, Site

# Each decoded token has a key length of its own: the newest are kept.
MOST_KEPT = 1024
# The number of the rule that matched, by the facts of the call; one such for each set of rules.
Decided = dict[Hashable, dict[Any, int]]


class Plan:
    """Decides calls at one site (None: anywhere) by the rules that can still match there."""

    def __init__(
        self,
        remaining: Sequence[Remaining],
        outcomes: Sequence[Choice],
        site: Site | None,
        decided: Decided,
    ):
        self._choices = tuple(outcomes)
        self._checks = [
            tuple(_check(condition, one.rule, site) for condition in one.left) for one in remaining
        ]
        asked = {condition.fact for one in remaining for condition in one.left}
        self._known: dict[Any, int] | None = None
        if asked <= {*READERS, "mask"} and not (site is None and asked & {"phase", "training"}):
            left = (site is None, *(one.left for one in remaining))
            self._known = decided.setdefault(left, {})
        self._readers = tuple(_reader(fact) for fact in sorted(asked))
        self._reads_masks = any(reads_masks(c) for one in remaining for c in one.left)

    def decide(self, call: AttentionCall) -> Choice:
        """The choice of the first rule that holds for a call."""
        known = self._known
        must_read = self._reads_masks and call.mask is not None
        if known is None or must_read or sys.modules["torch"].compiler.is_compiling():
            return self._choices[self._first(call)]
        facts = tuple([read(call) for read in self._readers])
        try:
            number = known.get(facts)
        except TypeError:  # a length that is a symbol
            return self._choices[self._first(call)]
        if number is None:
            number = self._first(call)
            if len(known) >= MOST_KEPT:
                known.clear()
            known[facts] = number
        return self._choices[number]

    def _first(self, call: AttentionCall) -> int:
        for number, checks in enumerate(self._checks):
            for check in checks:
                if not check(call):
                    break
            else:
                return number
        raise AssertionError  # the last rule has no condition


def _reader(fact: str) -> Callable[[AttentionCall], Any]:
    if fact == "mask":
        return mask_form
    if fact == "training":  # where no module is running, the check says so
        return lambda call: call.module.training if call.module is not None else None
    return READERS.get(fact, lambda call: None)


def _check(condition: Condition, rule: Rule, site: Site | None) -> Check:
    if condition.fact in ("role", "site", "layer") or (condition.fact == "phase" and site is None):
        return _refusing(condition, rule)
    check = check_of(condition)
    if condition.fact != "training":
        return check
    refuse = _refusing(condition, rule)
    return lambda call: refuse(call) if call.module is None else check(call)


def _refusing(condition: Condition, rule: Rule) -> Check:
    def refuse(call: AttentionCall) -> bool:
        raise UnavailableError(
            f"{rule.use.source}: the condition `{condition}` cannot be told for this call",
            reasons=["no attention module is running around it, or it was compiled"],
            remedy="Switch the model with attnswitch.apply(model, policy), which knows its sites",
        )

    return refuse
