"""What speaks against agreement, in the order in which to look at it, and the verdict in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from attnswitch.verification.rule import Judgement
from attnswitch.verification.where_possible import said_of
from attnswitch.verification.whole_runs import LOGITS

if TYPE_CHECKING:
    from attnswitch.verification.verification import Verification


@dataclass(frozen=True)
class Failure:
    """One finding against one request.

    `kind` is "local", "inputs", "gradient", "propagated", "logits", "tokens" or "training"; the
    first three are a site's own doing or lie before it.
    """

    who: str
    request: str
    kind: str
    site: str | None
    phase: str | None
    words: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)

    def __str__(self) -> str:
        at = f" at {self.site} ({self.phase})" if self.site else ""
        return f"{self.request}{at}: {self.words}"


def failures_of(found: Verification) -> list[Failure]:
    """Local errors in model order, then gradients, whole runs, weights, tokens, training."""
    return [
        *_local(found), *_gradients(found), *_whole(found), *_weights(found), *_tokens(found),
        *_training(found),
    ]  # fmt: skip


def _local(found: Verification) -> Iterator[Failure]:
    for site in (found.local.sites if found.local else {}).values():
        for who, request in found.requests.items():
            pool = site.pools.get(who)
            if pool is None or not pool.count or pool.judgement().passes:
                continue
            numbers = _numbers(pool.judgement())
            symptom = site.symptoms.get(who)
            words = f"{symptom}; {numbers}" if symptom else numbers
            yield Failure(who, request.word, "local", site.site.path, site.phase, words)
        if site.calls_not_finite:
            words = (
                "inf or NaN comes into attention here, from the model itself: "
                f"{site.calls_not_finite} calls could not be judged"
            )
            yield Failure("both", "the model", "inputs", site.site.path, site.phase, words)


def _gradients(found: Verification) -> Iterator[Failure]:
    for site in (found.gradients or {}).values():
        for who, request in found.requests.items():
            if not site.passes(who):
                words = site.symptoms.get(who, "its gradients exceed the allowed error")
                yield Failure(who, request.word, "gradient", site.site.path, "backward", words)


def _weights(found: Verification) -> Iterator[Failure]:
    for site in (found.gradients or {}).values():
        for who, request in found.requests.items():
            pool = site.propagated.get(who)
            if pool is not None and pool.count and not pool.judgement().passes:
                words = f"the gradients of its weights differ: {_numbers(pool.judgement())}"
                yield Failure(who, request.word, "propagated", site.site.path, "backward", words)


def _whole(found: Verification) -> Iterator[Failure]:
    if found.whole is None:
        return
    for who, request in found.requests.items():
        for key in found.whole.sites:
            if not found.whole.has(key, who):
                continue
            judgement = found.whole.judgement(key, who)
            if not judgement.passes:
                words = f"whole runs have parted here: {_numbers(judgement)}"
                yield Failure(who, request.word, "propagated", *key, words)
        judgement = found.whole.judgement(LOGITS, who)
        if not judgement.passes:
            words = f"the logits differ: {_numbers(judgement)}"
            yield Failure(who, request.word, "logits", None, None, words)


def _tokens(found: Verification) -> Iterator[Failure]:
    if found.tokens is None:
        return
    for number in found.tokens.real_flips:
        flip = found.tokens.answers[number].flip
        assert flip is not None
        words = f"prompt {number + 1} differs from token {flip.position + 1} on"
        if flip.margin is not None and flip.allowed is not None:
            words += (
                f", by a margin of {abs(flip.margin):.3g} where rounding explains "
                f"{flip.allowed:.3g}"
            )
        request = found.requests["candidate"].word
        yield Failure("candidate", request, "tokens", None, None, words)


def _training(found: Verification) -> Iterator[Failure]:
    if found.training is not None and found.training.parts:
        step = found.training.first_parting_step
        words = "training parts from the baseline's more than the baseline does from itself"
        words += f", from step {step} on" if step else ""
        yield Failure("candidate", found.requests["candidate"].word, "training", None, None, words)


def _numbers(judgement: Judgement) -> str:
    if not judgement.finite:
        return "its numbers are not all finite"
    worse = "max" if judgement.error.max > judgement.allowed.max else "rms"
    name = {"max": "largest", "rms": "root-mean-square"}[worse]
    error, allowed = (getattr(part, worse) for part in (judgement.error, judgement.allowed))
    return f"{name} error {error:.2g}, allowed {allowed:.2g}"


def explain(found: Verification) -> str:
    """The verdict for people."""
    failures = found.failures
    names = " and ".join(dict.fromkeys(r.word for r in reversed(list(found.requests.values()))))
    if not failures:
        where = "every site"
        if found.not_judged and found.local is not None:
            where = f"{len({path for path, _ in found.local.sites})} sites"
        text = (
            f"{names} agree: at {where}, on the same inputs and in whole runs, each is within "
            "the error that standard attention with fp32 scores has, twice over, measured "
            f"against float64.{said_of(found.not_judged)}"
        )
        if found.tokens and found.tokens.same < len(found.tokens.answers):
            text += " Where tokens differ, it is by near ties."
        return text
    first = failures[0]
    more = f" {len(failures) - 1} more findings follow it." if len(failures) > 1 else ""
    if first.kind in ("local", "gradient"):
        return (
            f"A bug, not rounding: {first.request} is wrong at {first.site} ({first.phase}) on "
            f"the very inputs that standard attention is right on. There {first.words}.{more}"
        )
    if first.kind == "inputs":
        return f"Not judged: at {first.site} ({first.phase}) {first.words}.{more}"
    if first.kind == "propagated":
        return (
            f"Every site is right on its own inputs, yet whole runs under {first.request} part: "
            f"first at {first.site} ({first.phase}). What differs lies between the sites, such as "
            f"the mask that the model makes for this request. There {first.words}.{more}"
        )
    return f"Every site is within the allowed error, but {first.request}: {first.words}.{more}"
