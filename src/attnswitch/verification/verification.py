"""What `verify` returns: everything that was judged, the answer, and the record of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attnswitch.policy.requests import Request
from attnswitch.verification.bisect import Bisection
from attnswitch.verification.every_site import LocalErrors, LocalSite
from attnswitch.verification.failures import Failure, explain, failures_of
from attnswitch.verification.gradients import GradientSite
from attnswitch.verification.rule import Judgement
from attnswitch.verification.tokens import Tokens
from attnswitch.verification.training import Training
from attnswitch.verification.whole_runs import LOGITS, WholeRuns

SCHEMA = "attnswitch.verification/1"
CANDIDATE = "candidate"


@dataclass
class Verification:
    """Two ways of attention judged inside one model.

    `agrees` is the rule at every site, in the logits, in what else was asked for, and where the
    tokens part no more than a near tie; `failures` is everything that speaks against it, in the
    order of the model, local errors first. `not_judged` are sites that ran and have no local error,
    since nothing but the model's own code can run there.
    """

    model: Any
    requests: Mapping[str, Request]
    seed: int = 0
    score_budget: int = 0
    backends: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    local: LocalErrors | None = None
    whole: WholeRuns | None = None
    gradients: dict[str, GradientSite] | None = None
    tokens: Tokens | None = None
    training: Training | None = None
    bisection: Bisection | None = None
    not_judged: Sequence[str] = ()

    @property
    def failures(self) -> list[Failure]:
        """What speaks against agreement; the first is where to look."""
        return failures_of(self)

    @property
    def agrees(self) -> bool:
        """Whether nothing does."""
        return not self.failures

    @property
    def first_failure(self) -> Failure | None:
        """The first of `failures`."""
        return next(iter(self.failures), None)

    @property
    def explanation(self) -> str:
        """The verdict in a sentence or two."""
        return explain(self)

    def to_json(self) -> dict[str, Any]:
        """The record `attnswitch.verification/1`: plain JSON data without NaN or infinities."""
        failures = self.failures
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "requests": {who: request.word for who, request in self.requests.items()},
            "verdict": {
                "agrees": not failures,
                "explanation": self.explanation,
                "first_failure": failures[0].to_json() if failures else None,
                "failures": [failure.to_json() for failure in failures],
            },
            "settings": {
                "seed": self.seed, "scores_judged_per_call": self.score_budget,
                "pooled": "by site and phase: all calls as elements of one tensor",
            },
            "sites": list(self._sites()),
            "not_judged": list(self.not_judged),
            "tokens": self.tokens.to_json() if self.tokens else None,
            "gradients": self._gradients(),
            "training": self.training.to_json() if self.training else None,
            "bisection": self.bisection.to_json() if self.bisection else None,
        }  # fmt: skip
        if self.whole is not None:
            record["reference"] = {
                "whole_model_precise": not self.whole.only_attention_precise,
                "yardstick_runs": self.whole.yardstick_runs,
            }
            record["logits"] = {
                who: judgement_json(self.whole.judgement(LOGITS, who)) for who in self.requests
            }
        return record

    def _sites(self) -> Iterator[dict[str, Any]]:
        whole = set(self.whole.sites) if self.whole else set()
        for key, found in (self.local.sites if self.local else {}).items():
            entry: dict[str, Any] = {
                "site": found.site.path, "role": found.site.role, "phase": found.phase,
            }  # fmt: skip
            entry |= self._of(CANDIDATE, found, key in whole)
            others = [who for who in self.requests if who != CANDIDATE]
            entry |= {who: self._of(who, found, key in whole) for who in others}
            yield entry | {
                "statistics": {
                    **found.statistics.to_json(),
                    "scale_error_told": scale_error_told(found),
                },
                "calls": found.calls,
                "calls_with_inputs_not_finite": found.calls_not_finite,
                "rows": vars(found.rows),
            }

    def _of(self, who: str, found: LocalSite, in_whole: bool) -> dict[str, Any]:
        pool = found.pools.get(who)
        key = (found.site.path, found.phase)
        has = in_whole and self.whole is not None and self.whole.has(key, who)
        symptom = found.symptoms.get(who)
        local = judgement_json(pool.judgement()) if pool and pool.count else None
        return {
            "backend": self.backends.get(who, {}).get(found.site.path),
            "local": local,
            "propagated": judgement_json(self.whole.judgement(key, who))  # type: ignore[union-attr]
            if has else None,
            "symptom": symptom if local and not local["passes"] else None,
        }  # fmt: skip

    def _gradients(self) -> dict[str, Any] | None:
        if self.gradients is None:
            return None
        sites = []
        for found in self.gradients.values():
            entry: dict[str, Any] = {
                "site": found.site.path, "role": found.site.role, "phase": "backward",
            }  # fmt: skip
            entry |= _gradient_json(found, CANDIDATE)
            for who in self.requests:
                if who != CANDIDATE:
                    entry[who] = _gradient_json(found, who)
            sites.append(entry)
        return {"factor": 3.0, "sites": sites}


def scale_error_told(found: LocalSite) -> float | None:
    """The smallest relative error of scale that would have been found at a site, or None."""
    pool = next((pool for pool in found.pools.values() if pool.count), None)
    if pool is None:
        return None
    return found.statistics.scale_error_told(pool.judgement().yardstick_error.rms)


def _gradient_json(found: GradientSite, who: str) -> dict[str, Any]:
    """`local` is the worst of query, key and value; all three stand beside it."""
    three = found.local_judgements(who)
    worst = max(three.values(), key=_severity, default=None)
    propagated = found.propagated.get(who)
    return {
        "local": judgement_json(worst) if worst else None,
        "of": {name: judgement_json(one) for name, one in three.items()},
        "propagated": judgement_json(propagated.judgement()) if propagated else None,
        "symptom": found.symptoms.get(who) if not found.passes(who) else None,
    }


def _severity(judgement: Judgement) -> float:
    from attnswitch.verification.whole_runs import largest_ratio

    return largest_ratio(judgement)


def judgement_json(judgement: Judgement) -> dict[str, Any]:
    """A judgement as plain JSON data; an error that is no number is null, and `finite` false."""
    data = judgement.to_json()
    for name in ("error", "yardstick_error", "allowed"):
        data[name] = {k: v if math.isfinite(v) else None for k, v in data[name].items()}
    return data
