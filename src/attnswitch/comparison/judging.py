"""Judge both runs of a comparison by the rule: locally at every site, and in the logits.

The tokens of the baseline's answer are forced on everyone, so that logits can be compared step by
step. Padding is judged too, on a batch made of the same prompt twice, one of them longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.comparison.local import LocalError, local_errors
from attnswitch.comparison.runs import Run, generate
from attnswitch.switch import apply
from attnswitch.verification.answering import REFERENCE, YARDSTICK
from attnswitch.verification.exact_run import exactly
from attnswitch.verification.nudging import rounded_otherwise
from attnswitch.verification.rule import Judgement, judge_beside
from attnswitch.verification.where_possible import own_code, those_that_run, where_possible

# The local check runs the reference at each site of each step; a few decoded tokens show the
# decode path, more would only repeat it.
LOCAL_STEPS = 4


@dataclass(frozen=True)
class Check:
    """One application of the rule to one run: `what` says to which tensor."""

    run: str
    what: str
    judgement: Judgement

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"run": self.run, "what": self.what, **self.judgement.to_json()}


@dataclass(frozen=True)
class Difference:
    """The first token that differs, and the reference's margin between the two candidates.

    `margin` is the reference's logit of the baseline's token minus that of the candidate's;
    `near_tie` says that its size is within the allowed error of the logits.
    """

    position: int
    baseline_token: int
    candidate_token: int
    margin: float
    allowed: float

    @property
    def near_tie(self) -> bool:
        """Whether rounding explains the flip."""
        return abs(self.margin) <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**vars(self), "near_tie": self.near_tie}


@dataclass(frozen=True)
class Verdict:
    """Everything that was judged, and the answer.

    `not_judged` are the sites that ran and were not judged by themselves, since nothing but the
    model's own code can run there. Where a model casts inside and cannot compute one precision up,
    the reference is not `whole_model_precise`: there attention alone is exact.
    """

    checks: list[Check]
    sites: list[LocalError]
    difference: Difference | None
    not_judged: list[str]
    whole_model_precise: bool

    @property
    def agrees(self) -> bool:
        """Every check passes, and the tokens are the same or differ by a near tie."""
        return not self.failures() and (self.difference is None or self.difference.near_tie)

    def failures(self) -> list[str]:
        """What fails, sites first and in model order: the first is where to look."""
        sites = [
            f"{e.backend} at {e.site.path} ({e.phase})" for e in self.sites
            if not e.judgement.passes
        ]  # fmt: skip
        return sites + [f"{c.run} in the {c.what}" for c in self.checks if not c.judgement.passes]


class _Forced:
    """A logits processor that lets only the given tokens through, one a step."""

    def __init__(self, tokens: Sequence[int], prompt_length: int):
        self.tokens, self.prompt_length = tokens, prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - self.prompt_length
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.tokens[step]] = 0.0
        return forced


def answer_logits(model: Any, inputs: Mapping[str, Any], tokens: Sequence[int]) -> torch.Tensor:
    """[steps, vocabulary] logits while `tokens` are forced, by prefill and cached decoding."""
    out = generate(
        model, inputs, len(tokens),
        logits_processor=[_Forced(tokens, inputs["input_ids"].shape[1])],
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    return torch.stack([step[0] for step in out.logits])


def last_logits(model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
    """[batch, vocabulary] logits of the last position of each sequence (left padding)."""
    with torch.inference_mode():
        return model(**inputs).logits[:, -1].clone()


def judge_runs(
    model: Any,
    baseline: Run,
    candidate: Run,
    inputs: Mapping[str, Any],
    padded: Mapping[str, Any] | None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Judge both runs; `padded` is the left-padded batch, or None where the model takes none."""
    runs = (baseline, candidate)
    checks: list[Check] = []
    tokens = baseline.tokens
    on_step("judging the logits of the answer")
    answers, found, precise = _check(
        model, runs, "logits of the answer", inputs,
        lambda given: answer_logits(model, given, tokens),
    )  # fmt: skip
    checks += found
    if padded is not None:
        on_step("judging a left-padded batch")
        what = "logits of a left-padded batch"
        checks += _check(model, runs, what, padded, lambda given: last_logits(model, given))[1]
    on_step("judging every site on the same inputs")
    with those_that_run(model, own_code(model)) as own:
        sites = _local(model, runs, inputs, padded, tokens)
    allowed = next(c for c in checks if c.run == candidate.request.word).judgement.allowed.max
    difference = _first_difference(tokens, candidate.tokens, answers[REFERENCE.word], allowed)
    return Verdict(checks, sites, difference, own, precise)


def _under_each(
    model: Any,
    runs: Sequence[Run],
    inputs: Mapping[str, Any],
    compute: Callable[[Mapping[str, Any]], torch.Tensor],
) -> tuple[dict[str, torch.Tensor], bool]:
    """What `compute` gives under the reference, the yardstick and each run's request; and whether
    the whole model was precise under the reference."""
    found = {}
    found[REFERENCE.word], precise = exactly(model, inputs, compute)
    for request in [where_possible(model, YARDSTICK), *(run.request for run in runs)]:
        with apply(model, request):
            found[request.word] = compute(inputs)
    return found, precise


def _check(
    model: Any,
    runs: Sequence[Run],
    what: str,
    inputs: Mapping[str, Any],
    compute: Callable[[Mapping[str, Any]], torch.Tensor],
) -> tuple[dict[str, torch.Tensor], list[Check], bool]:
    """Judge what `compute` gives; before a run is said to fail, the yardstick runs again, rounded
    otherwise. The last is whether the whole model was precise under the reference."""
    tensors, precise = _under_each(model, runs, inputs, compute)
    yardsticks = [tensors[YARDSTICK.word]]
    words = list(dict.fromkeys(run.request.word for run in runs))

    def checks() -> list[Check]:
        exact = tensors[REFERENCE.word]
        return [Check(w, what, judge_beside(tensors[w], yardsticks, exact)) for w in words]

    if not all(check.judgement.passes for check in checks()):
        with apply(model, where_possible(model, YARDSTICK)):
            yardsticks += rounded_otherwise(model, lambda: compute(inputs))
    return tensors, checks(), precise


def _local(
    model: Any,
    runs: Sequence[Run],
    inputs: Mapping[str, Any],
    padded: Mapping[str, Any] | None,
    tokens: Sequence[int],
) -> list[LocalError]:
    steps = tokens[:LOCAL_STEPS]
    passes: list[Any] = [(lambda: answer_logits(model, inputs, steps), None)]
    if padded is not None:
        passes.append((lambda: last_logits(model, padded), padded["attention_mask"].bool()))
    return local_errors(model, runs, passes)


def _first_difference(
    baseline: Sequence[int], candidate: Sequence[int], reference: torch.Tensor, allowed: float
) -> Difference | None:
    for position, pair in enumerate(zip(baseline, candidate, strict=False)):
        if pair[0] != pair[1]:
            row = reference[position]
            margin = (row[pair[0]] - row[pair[1]]).item()
            return Difference(position, pair[0], pair[1], margin, allowed)
    return None
