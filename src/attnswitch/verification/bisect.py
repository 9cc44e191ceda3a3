"""Which smallest set of sites must be switched for the outputs to agree again, or to differ?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch

from attnswitch.bench.statistics import ratio
from attnswitch.bench.timing import Stop, interleave
from attnswitch.errors import InputError
from attnswitch.policy.requests import Request
from attnswitch.switch import apply
from attnswitch.verification.answering import YARDSTICK
from attnswitch.verification.exact_run import exactly
from attnswitch.verification.least_set import Search
from attnswitch.verification.mixtures import Mixture
from attnswitch.verification.passes import Pass, greedy
from attnswitch.verification.rule import judge
from attnswitch.verification.where_possible import where_possible

Oracle = Literal["logits", "tokens"]
TOKENS = 16
_ROUNDS = Stop(least=3, most=5, seconds=10.0)


@dataclass
class Bisection:
    """What was found.

    `sites` must be switched; while the search is not `complete`, others `among` must be too.
    `nothing_to_find` says why there was no search. `cost` is the time of the mixture over that of
    the run it starts from, {median, low, high}.
    """

    goal: str
    oracle: str
    start: str
    towards: str
    sites: list[str] = field(default_factory=list)
    among: list[str] = field(default_factory=list)
    evaluations: int = 0
    budget: int = 0
    complete: bool = False
    minimal: bool = False
    nothing_to_find: str | None = None
    cost: dict[str, float] | None = None

    def policy(self) -> str:
        """The answer as a policy file."""
        because = f"needed for the outputs to {self.goal}: attnswitch verify --bisect {self.goal}"
        lines = [f"attn: {self.start}", "rules:"]
        for site in self.sites:
            lines += [f"  - when: {{site: {site}}}", f"    use: {self.towards}",
                      f"    because: '{because}'"]  # fmt: skip
        return "\n".join(lines if self.sites else lines[:1]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**vars(self), "policy": self.policy()}


def bisect(
    model: Any,
    backends: Mapping[str, Mapping[str, str]],
    one: Pass,
    *,
    goal: str,
    oracle: Oracle,
    budget: int,
    requests: Mapping[str, Request],
    progress: Callable[[str], None] = lambda _: None,
) -> Bisection:
    """Search the sites.

    To make outputs agree, the candidate's sites are switched to the baseline's backends; to make
    them differ, the baseline's to the candidate's. Outputs agree where the logits are within the
    allowed error of the exact run's, or where the baseline's tokens come out.
    """
    if budget < 3:
        raise InputError(f"a budget of {budget} is too small: both ends and one set must be tried")
    own, theirs = ("candidate", "baseline") if goal == "agree" else ("baseline", "candidate")
    found = Bisection(goal, oracle, requests[own].word, requests[theirs].word, budget=budget)
    agrees = _oracle(model, backends, one, oracle, requests)

    def passes(switched: frozenset[str]) -> bool:
        progress(f"bisecting: evaluation {search.evaluations} of at most {budget}")
        mixture = Mixture(backends[own], backends[theirs], switched)
        return agrees(mixture) is (goal == "agree")

    sites = [path for path in backends[own] if backends[own][path] != backends[theirs].get(path)]
    search: Search[str] = Search(passes, budget)
    if search.evaluate(frozenset()):
        found.nothing_to_find = (
            f"under {found.start} alone the outputs {'agree' if goal == 'agree' else 'differ'}"
        )
    elif not search.evaluate(frozenset(sites)):
        found.nothing_to_find = (
            f"with every site switched to {found.towards} the outputs still "
            f"{'differ: the cause lies elsewhere' if goal == 'agree' else 'agree'}"
        )
    else:
        search.run(sites)
        order = {path: number for number, path in enumerate(sites)}
        found.sites = sorted(search.needed, key=order.__getitem__)
        found.among, found.complete, found.minimal = (
            search.candidates, search.complete, search.minimal,
        )  # fmt: skip
        progress("timing the mixture")
        found.cost = _cost(model, one, backends[own], backends[theirs], found.sites)
    found.evaluations = search.evaluations
    return found


def _oracle(
    model: Any,
    backends: Mapping[str, Mapping[str, str]],
    one: Pass,
    oracle: Oracle,
    requests: Mapping[str, Request],
) -> Callable[[Mixture], bool]:
    if oracle == "tokens":
        with apply(model, requests["baseline"]):
            wanted = greedy(model, one.inputs, TOKENS)
        return lambda mixture: mixture.tokens(model, one, TOKENS) == wanted
    truth, _ = exactly(model, one.inputs, lambda inputs: one.run(model, inputs))
    with apply(model, where_possible(model, YARDSTICK)):
        standard = one.run(model)
    return lambda mixture: _passes(mixture.logits(model, one), standard, truth)


def _passes(logits: torch.Tensor, standard: torch.Tensor, truth: torch.Tensor) -> bool:
    return judge(logits, standard, truth).passes


def _cost(
    model: Any, one: Pass, own: Mapping[str, str], theirs: Mapping[str, str], sites: Sequence[str]
) -> dict[str, float]:
    """Time of the mixture over the time without any site switched, in turn."""
    mixtures = {"mixed": Mixture(own, theirs, sites), "plain": Mixture(own, theirs, ())}
    calls = {name: partial(mixture.logits, model, one) for name, mixture in mixtures.items()}
    samples = interleave(calls, _ROUNDS).seconds
    return ratio(samples["mixed"], samples["plain"])._asdict()
