"""Turn a request into a backend for given circumstances, with the reasons for what was refused."""

from __future__ import annotations

from attnswitch.backends.catalogue import CATALOGUE, FASTEST_FIRST, decide, family_of
from attnswitch.errors import UnavailableError
from attnswitch.policy.requests import Request
from attnswitch.types import Available, Choice, Circumstances, Refused, Site


def resolve(
    request: Request,
    call: Circumstances,
    *,
    missing_packages: frozenset[str] = frozenset(),
    site: Site | None = None,
) -> Choice:
    """Pick the backend that `request` means under `call`.

    `missing_packages` is `environment.missing_packages()`: who does not import here, and why.

    Raises:
        UnavailableError: nothing that the request allows can serve; every reason is in it.
    """
    if request.kind == "auto":
        return Choice("auto", request.word, request.source, "the project's own choice stands", site)
    candidates, rule = _candidates(request, call)
    refused: list[Refused] = []
    for name in candidates:
        decision = decide(name, call, missing_packages)
        if isinstance(decision, Available):
            passed_over = _faster_refusals(name, request, call, missing_packages)
            return Choice(name, request.word, request.source, rule, site, tuple(passed_over))
        refused.append(decision)
    where = f" at {site.path}" if site and site.path else ""
    raise UnavailableError(
        f"{request.source} asks for {request.word!r}{where}, which cannot be met here",
        reasons=[str(r) for r in refused],
        remedy=_remedy(request),
    )


def _candidates(request: Request, call: Circumstances) -> tuple[tuple[str, ...], str]:
    """Backends in the order to try them, and the rule in words."""
    if request.kind == "backend":
        return (request.word,), f"{request.word} was asked for by name"
    if request.kind == "no-flash":
        order = tuple(n for n in FASTEST_FIRST if family_of(n) != "flash")
        return order, "the fastest that is not FlashAttention"
    if request.word == "standard":
        # A model with only its own code computes standard attention as it is.
        order = ("eager",) if call.has_eager and not call.has_sdpa else ("blockwise",)
        return order, f"standard means {order[0]} here"
    if request.word == "flash":
        return ("flash", "flash_attn"), "flash means PyTorch's kernel, else the flash-attn package"
    return ("efficient",), "fused means PyTorch's memory-efficient kernel"


def _faster_refusals(
    chosen: str, request: Request, call: Circumstances, missing: frozenset[str]
) -> list[Refused]:
    """Why each faster backend does not run: barred by the request, or refused by the machine."""
    found: list[Refused] = []
    if chosen not in FASTEST_FIRST:
        return found
    for name in FASTEST_FIRST[: FASTEST_FIRST.index(chosen)]:
        decision = decide(name, call, missing)
        reasons = decision.reasons if isinstance(decision, Refused) else ()
        if CATALOGUE[name].family == "flash" and request.word != "flash":
            reasons = (f"{request.word!r} was asked for", *reasons)
        elif not reasons:
            reasons = (f"{request.word!r} was asked for",)
        found.append(Refused(name, tuple(reasons)))
    return found


def _remedy(request: Request) -> str:
    if request.word in ("flash", "flash_attn"):
        return (
            "'standard' works everywhere; 'no-flash' takes the fastest that is not FlashAttention"
        )
    return "'standard' works everywhere"
