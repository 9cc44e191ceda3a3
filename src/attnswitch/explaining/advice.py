"""What to use on a machine: a dtype that it has hardware for, and a policy that it can meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from attnswitch.backends.catalogue import family_of
from attnswitch.errors import UnavailableError
from attnswitch.explaining.machines import Machine
from attnswitch.policy.requests import Request
from attnswitch.policy.resolve import resolve

# What LLaVA's training scripts, and transformers' Trainer under them, call these.
_TRAINER_FLAGS = {
    "float16": "--bf16 False --fp16 True --tf32 False",
    "float32": "--bf16 False --fp16 False --tf32 False",
}


def advice(there: Machine, dtype: str | None, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """{out, errors, dtype, flags, request, command, policy, backend}.

    `out` says what does not work there, `errors` what a program stops with that asks for it.
    `request` is what can be met instead, as a `command` for a training script and as a `policy`
    file's text; None where the request can be met as it is, and where nothing can be.
    """
    found: dict[str, Any] = {"out": _out(there, dtype), "errors": _errors(there, dtype)}
    better = _better_dtype(there, dtype)
    nothing = dict.fromkeys(("dtype", "flags", "request", "command", "policy", "backend"))
    if all(line["planned"] for line in lines):
        return {**found, **nothing, "dtype": better, "flags": _flags(there, better)}
    word, backend = _meetable(there, better or dtype)
    return {
        **found,
        "dtype": better,
        "flags": _flags(there, better),
        "request": word,
        "command": f"ATTNSWITCH={word} bash finetune.sh" if word else None,
        "policy": _policy_text(there, word, backend) if word else None,
        "backend": backend,
    }


def _flags(there: Machine, dtype: str | None) -> str | None:
    return _TRAINER_FLAGS.get(dtype or "") if there.device == "cuda" else None


def _errors(there: Machine, dtype: str | None) -> list[str]:
    """In the words of those who raise them."""
    supports = there.profile.support if there.profile else {}
    return [s.error for name, s in supports.items() if s.error and name in (dtype, "flash-attn 2")]


def _out(there: Machine, dtype: str | None) -> list[str]:
    """What was asked or is usual, and does not work there, each with its reason."""
    profile = there.profile
    if profile is None:
        return []
    reasons: dict[str, list[str]] = {}
    support = profile.dtype(dtype) if dtype else None
    if support and not (support.runs and support.native):
        reasons[support.why] = [str(dtype)]
    for name in profile.support:
        if name.startswith(("flash-attn", "SDPA flash")) and not profile.support[name].runs:
            reasons.setdefault(profile.support[name].why, []).append(name)
    return [f"{', '.join(names)}: {why}" for why, names in reasons.items()]


def _better_dtype(there: Machine, dtype: str | None) -> str | None:
    if there.profile is None or dtype is None or there.profile.dtype(dtype).native:
        return None
    half = there.profile.dtype("float16")
    return "float16" if half.runs and half.native and there.device == "cuda" else "float32"


def _meetable(there: Machine, dtype: str | None) -> tuple[str | None, str | None]:
    """The fastest request that can be met there, and the backend that it means."""
    call = replace(there.circumstances(dtype), has_eager=True)
    for word in ("flash", "no-flash"):
        request = Request(word, "family" if word == "flash" else "no-flash", "advice")
        try:
            return word, resolve(request, call, missing_packages=there.missing).backend
        except UnavailableError:
            continue
    return None, None


def _policy_text(there: Machine, word: str, backend: str | None) -> str:
    on = there.profile.title if there.profile else there.title
    family = family_of(backend)
    return f"attn: {word}    # {on}: {backend}, family {family}\n"
