"""Which of two settings wins, in a fixed order; where they contradict each other, neither.

From the nearest to the furthest:

    1. a setting marked as override           `override: true` in a policy, `override=True` in code
    2. code: `apply()` on the model, then `use()` around the call, the innermost first
    3. the command line: `--attn` of a command (`attnswitch run --attn` sets ATTNSWITCH)
    4. the environment: ATTNSWITCH
    5. the checkpoint: `use_flash_attention` in its config.json
    6. the project's own choice

The nearer one wins where both can be right ("math" in code, "standard" in the environment). Where
one asks for FlashAttention and the other bars it, that is an error that names both places, unless
exactly one of them is an override. Inside one place, as in nested `use()`, the innermost wins.
"""

from __future__ import annotations

from typing import Literal

from attnswitch.backends.catalogue import family_of
from attnswitch.errors import RequestError
from attnswitch.policy.requests import Request
from attnswitch.types import Choice

Outcome = Literal["nearer", "nearer overrides", "further overrides"]


def settle(
    nearer: Request, near: tuple[Choice, ...], further: Request, far: tuple[Choice, ...]
) -> Outcome:
    """Which request holds; `near` and `far` are the choices that they lead to here.

    Raises:
        RequestError: they contradict each other, and not exactly one is an override.
    """
    if nearer.origin == further.origin or not contradict(near, far):
        return "nearer"
    if nearer.override and not further.override:
        return "nearer overrides"
    if further.override and not nearer.override:
        return "further overrides"
    asking, barring = (nearer, further) if _ask(near) and _bar(far) else (further, nearer)
    both = "; both are marked as override" if nearer.override else ""
    raise RequestError(
        f"{_place(asking)} asks for FlashAttention, {_place(barring)} bars it{both}: "
        "change one of them, or mark the one that is to win as override"
    )


def contradict(one: tuple[Choice, ...], other: tuple[Choice, ...]) -> bool:
    """Whether one asks for FlashAttention somewhere, and the other bars it somewhere."""
    return (_ask(one) and _bar(other)) or (_bar(one) and _ask(other))


def _ask(choices: tuple[Choice, ...]) -> bool:
    return any(family_of(c.backend) == "flash" for choice in choices for c in choice.possible)


def _bar(choices: tuple[Choice, ...]) -> bool:
    return any(c.bars_flash for choice in choices for c in choice.possible)


def _place(request: Request) -> str:
    return f"{request.source} ({request.word!r})"
