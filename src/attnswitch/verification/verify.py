"""`verify`: is the difference a bug, where, and does it matter?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from attnswitch.errors import InputError
from attnswitch.switch import RequestLike, apply, as_request
from attnswitch.verification.bisect import Oracle, bisect
from attnswitch.verification.every_site import LocalErrors
from attnswitch.verification.gradients import verify_gradients
from attnswitch.verification.passes import Pass, greedy
from attnswitch.verification.sampling import SCORES
from attnswitch.verification.tokens import compare_tokens
from attnswitch.verification.training import compare_training
from attnswitch.verification.verification import Verification
from attnswitch.verification.where_possible import own_code, those_that_run
from attnswitch.verification.who_runs import backends_of
from attnswitch.verification.whole_runs import WholeRuns

# A few decoded tokens show the decode path; more would only repeat it.
DECODE_STEPS = 4
BASELINE, CANDIDATE = "baseline", "candidate"
Progress = Callable[[str], None]
Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What to verify beside local and propagated error, and how thoroughly.

    `judged` is how many of the inputs local and propagated errors are taken over, `train` how
    many training steps, `find` what to bisect for ("agree", "differ" or nothing) by `oracle`
    ("logits" or "tokens") in at most `budget` evaluations. `seed` draws rows and training order.
    """

    max_new_tokens: int = 16
    gradients: bool = False
    train: int = 0
    learning_rate: float = 1e-4
    find: str | None = None
    oracle: Oracle = "logits"
    budget: int = 40
    judged: int = 2
    seed: int = 0
    score_budget: int = SCORES


def verify(
    model: Any,
    inputs: Inputs | Sequence[Inputs],
    *,
    candidate: RequestLike = "standard",
    baseline: RequestLike = "flash",
    progress: Progress = lambda _: None,
    **wanted: Any,
) -> Verification:
    """Judge two ways of attention inside one model.

    At every attention call both are compared with float64 attention on the same q, k, v and mask
    (local error), then in whole runs with the run whose attention is exact (propagated error),
    then by the tokens they generate.

    Args:
        model: any torch module whose attention attnswitch can switch; call `eval()` first.
        inputs: what `model(**inputs)` takes, or several of them. A mask `attention_mask` [B, T]
            says what is padding. Tokens are compared for those that hold one sequence.
        candidate, baseline: requests, as for `apply`.
        progress: called with what is being done.
        wanted: the fields of `Wanted`: max_new_tokens=16 (0: no tokens), gradients=False,
            train=0, find=None, oracle="logits", budget=40, judged=2, seed=0 ...

    Returns:
        `verification.agrees`, `.explanation`, `.first_failure`, `.to_json()`.

    Raises:
        InputError, UnavailableError: something asked for cannot be used or met.
    """
    asked = _wanted(wanted)
    prompts = [inputs] if isinstance(inputs, Mapping) else list(inputs)
    if not prompts:
        raise InputError("there is nothing to verify on: give at least one set of inputs")
    requests = {
        BASELINE: as_request(baseline, "baseline"),
        CANDIDATE: as_request(candidate, "candidate"),
    }
    found = Verification(model, requests, asked.seed, asked.score_budget)
    passes = _passes(model, prompts[: max(1, asked.judged)], requests[BASELINE], asked, progress)
    backends = {who: backends_of(model, request, passes[0]) for who, request in requests.items()}

    progress("judging every site on the same inputs")
    found.backends = backends
    found.local = LocalErrors(backends, seed=asked.seed, score_budget=asked.score_budget)
    with those_that_run(model, own_code(model)) as found.not_judged:
        for one in passes:
            found.local.watch(model, partial(one.run, model), one.padding)
    progress("judging whole runs")
    found.whole = WholeRuns(model, requests, passes, seed=asked.seed)
    found.whole.compare()
    if asked.gradients:
        progress("judging the backward")
        found.gradients = verify_gradients(model, requests, backends, passes[0], seed=asked.seed)
    single = [p for p in prompts if _is_single(p) and Pass(p).generates(model)]
    if asked.max_new_tokens and single:
        found.tokens = compare_tokens(
            model, single, requests[BASELINE], requests[CANDIDATE], asked.max_new_tokens,
            lambda n: progress(f"generating, prompt {n + 1} of {len(single)}"),
        )  # fmt: skip
    if asked.train:
        found.training = compare_training(
            model, requests, prompts, asked.train, seed=asked.seed,
            learning_rate=asked.learning_rate, progress=progress,
        )  # fmt: skip
    if asked.find:
        found.bisection = bisect(
            model, backends, passes[0], goal=asked.find, oracle=asked.oracle,
            budget=asked.budget, requests=requests, progress=progress,
        )  # fmt: skip
    return found


def _wanted(wanted: Mapping[str, Any]) -> Wanted:
    unknown = sorted(set(wanted) - set(Wanted.__dataclass_fields__))
    if unknown:
        raise InputError(f"verify() takes no {unknown[0]!r}")
    asked = Wanted(**wanted)
    if asked.find not in (None, "agree", "differ"):
        raise InputError(f"find is 'agree' or 'differ', not {asked.find!r}")
    if asked.oracle not in ("logits", "tokens"):
        raise InputError(f"oracle is 'logits' or 'tokens', not {asked.oracle!r}")
    return asked


def _passes(
    model: Any, prompts: Sequence[Inputs], baseline: RequestLike, asked: Wanted, progress: Progress
) -> list[Pass]:
    """The first prompt with a few decoded tokens after it, the baseline's; the others as they
    stand."""
    first = Pass(prompts[0])
    if asked.max_new_tokens and first.generates(model):
        progress("answering under the baseline")
        with apply(model, baseline):
            tokens = greedy(model, prompts[0], min(asked.max_new_tokens, DECODE_STEPS))
        first = Pass(prompts[0], tuple(tokens))
    return [first, *(Pass(one) for one in prompts[1:])]


def _is_single(inputs: Inputs) -> bool:
    ids = inputs.get("input_ids")
    return ids is not None and len(ids) == 1
