"""From a request to the choice of a site or of the process; with rules, to one for each call.

What is known beforehand (the site, packages, variables, and where the weights are) is settled once.
Where nothing is left open, the choice is a plain one. Else each call is decided by a `Plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from attnswitch.errors import UnavailableError
from attnswitch.policy.call_facts import capability_of, dtype_of
from attnswitch.policy.facts import facts_of_circumstances, facts_of_site
from attnswitch.policy.plans import Plan
from attnswitch.policy.requests import Request
from attnswitch.policy.resolve import resolve
from attnswitch.policy.rules import Remaining, Rule
from attnswitch.types import AttentionCall, Choice, Circumstances, RuledChoice, Site

BY_CALL = "by call"
# Facts that may change after the choice was made (`model.to(...)`, autocast).
_WEIGHTS = ("device", "capability", "dtype")
# Facts that only the module that is running can tell.
_OF_MODULE = ("role", "site", "layer", "training", "phase")

Place = tuple[Site, Any]


def choose(
    request: Request,
    call: Circumstances,
    machine: Mapping[str, Any],
    *,
    missing_packages: frozenset[str] = frozenset(),
    site: Site | None = None,
) -> Choice:
    """The choice for one site, whose weights and head width `call` knows.

    `machine` holds the facts `packages` and `environment`.

    Raises:
        UnavailableError: a rule that can match there cannot be met; every reason is in it.
    """
    if request.policy is None:
        return resolve(request, call, missing_packages=missing_packages, site=site)
    decider = _AtSite(request, call, machine, missing_packages, site)
    remaining, outcomes = decider.settled()
    if not remaining[0].left and not decider.ask_for(_WEIGHTS):
        return outcomes[0]
    return _ruled(request, site, decider, outcomes)


def choose_for_process(
    request: Request,
    call: Circumstances,
    machine: Mapping[str, Any],
    *,
    missing_packages: frozenset[str] = frozenset(),
    where: Callable[[], Place | None],
) -> Choice:
    """The choice for whatever runs in the process; `where` finds the module that is running.

    `call.device` is "cuda" on a machine that has one, where calls on the CPU happen too.

    Raises:
        UnavailableError: a rule that can match here cannot be met; every reason is in it.
    """
    if request.policy is None:
        return resolve(request, call, missing_packages=missing_packages)
    decider = _InProcess(request, call, machine, missing_packages, where)
    remaining, outcomes = decider.settled()
    if not remaining[0].left:
        return outcomes[0]
    return _ruled(request, None, decider, outcomes)


def _ruled(
    request: Request, site: Site | None, decider: _AtSite | _InProcess, outcomes: tuple[Choice, ...]
) -> RuledChoice:
    return RuledChoice(
        BY_CALL, request.word, request.source, "the rules decide at each call", site,
        decide=decider, outcomes=outcomes,
    )  # fmt: skip


class _Decider:
    """The rules of one request, settled as far as they can be, and the choices they lead to.

    Holds plain data, so that a switched model can be pickled; plans are made when first needed.
    """

    def __init__(
        self,
        request: Request,
        call: Circumstances,
        machine: Mapping[str, Any],
        missing: frozenset[str],
        site: Site | None = None,
    ):
        assert request.policy is not None
        self._policy, self._call, self._missing = request.policy, call, missing
        self._machine, self._site = dict(machine), site
        self._plans: dict[Any, Plan] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plans": {}}

    def ask_for(self, facts: tuple[str, ...]) -> bool:
        """Whether a rule speaks of one of these facts."""
        return not self._policy.facts_used().isdisjoint(facts)

    def _remaining(self, site: Site | None, facts: Mapping[str, Any]) -> tuple[Remaining, ...]:
        known = {**self._machine, **facts}
        if site is not None:
            known |= facts_of_site(site)
        return self._policy.remaining(known)

    def _outcome(self, rule: Rule, call: Circumstances, site: Site | None) -> Choice:
        """The choice that a rule leads to; it says which rule it was, and why it stands there."""
        choice = resolve(rule.use, call, missing_packages=self._missing, site=site)
        why = rule.because or (f"when {rule}" if rule.when else "")
        return replace(choice, rule="; ".join(part for part in (why, choice.rule) if part))

    def _plan_for(self, made: AttentionCall, site: Site | None) -> Plan:
        device, dtype = made.query.device, dtype_of(made.query)
        key = (device.type, device.index, dtype, site)
        plan = self._plans.get(key)
        if plan is None:
            capability = capability_of(made.query)
            call = replace(
                self._call, device=device.type, dtype=dtype,
                capability=None if capability is None else divmod(capability, 100),
            )  # fmt: skip
            facts = {"device": device.type, "dtype": dtype, "capability": capability}
            remaining = self._remaining(site, facts)
            outcomes = [self._outcome(one.rule, call, site) for one in remaining]
            plan = self._plans[key] = self._plan(remaining, outcomes, site)
        return plan

    def _plan(
        self, remaining: Sequence[Remaining], outcomes: Sequence[Choice], site: Site | None
    ) -> Plan:
        return Plan(remaining, outcomes, site, self._policy.decided)


class _AtSite(_Decider):
    """Decides at one site, for weights as they are known or as they turn out to be."""

    def settled(self) -> tuple[tuple[Remaining, ...], tuple[Choice, ...]]:
        """The rules that can still match, and what each leads to."""
        remaining = self._remaining(self._site, facts_of_circumstances(self._call))
        return remaining, tuple(self._outcome(o.rule, self._call, self._site) for o in remaining)

    def __call__(self, made: AttentionCall) -> Choice:
        first = self._plans.get("first")
        if first is None:
            first = self._plans["first"] = self._plan(*self.settled(), self._site)
            self._may_move = self.ask_for(_WEIGHTS)
        if self._may_move:
            moved = made.query.device.type != self._call.device
            if moved or dtype_of(made.query) != self._call.dtype:
                return self._plan_for(made, self._site).decide(made)
        return first.decide(made)


class _InProcess(_Decider):
    """Decides for calls anywhere in the process, at the sites that `where` finds."""

    def __init__(
        self,
        request: Request,
        call: Circumstances,
        machine: Mapping[str, Any],
        missing: frozenset[str],
        where: Callable[[], Place | None],
    ):
        super().__init__(request, call, machine, missing)
        self._where, self._asks_for_module = where, self.ask_for(_OF_MODULE)

    def settled(self) -> tuple[tuple[Remaining, ...], tuple[Choice, ...]]:
        """The rules that can match here, and everything that they can lead to."""
        places = [self._call]
        if self._call.device == "cuda":
            places.append(replace(self._call, device="cpu", capability=None))
        known = facts_of_circumstances(self._call) if len(places) == 1 else {}
        remaining = self._remaining(None, known)
        return remaining, tuple(c for o in remaining for c in self._outcomes_on(places, o.rule))

    def _outcomes_on(self, places: list[Circumstances], rule: Rule) -> list[Choice]:
        """What a rule leads to on each device here; nothing where it is for other machines."""
        found, errors = [], []
        for call in places:
            if rule.left_open(facts_of_circumstances(call)) is None:
                continue
            try:
                found.append(self._outcome(rule, call, None))
            except UnavailableError as error:
                errors.append(error)
        if errors and not found:
            raise errors[0]
        return found

    def __call__(self, made: AttentionCall) -> Choice:
        place = self._where() if self._asks_for_module else None
        if place is None:
            return self._plan_for(made, None).decide(made)
        site, made.module = place
        return self._plan_for(made, site).decide(made)
