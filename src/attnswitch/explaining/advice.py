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
    """{out: what does not work there, dtype, flags, policy (a file's text), backend}.

    `policy` is None where the request can be met as it is, and where nothing can be.
    """
    out = _out(there, dtype)
    better = _better_dtype(there, dtype)
    if all(line["planned"] for line in lines) and better is None:
        return {"out": out, "dtype": None, "flags": None, "policy": None, "backend": None}
    word, backend = _meetable(there, better or dtype)
    return {
        "out": out,
        "dtype": better,
        "flags": _TRAINER_FLAGS.get(better or "") if there.device == "cuda" else None,
        "policy": _policy_text(there, word, backend) if word else None,
        "backend": backend,
    }


def _out(there: Machine, dtype: str | None) -> list[str]:
    """What was asked or is usual, and does not work there, each with its reason."""
    found: list[str] = []
    profile = there.profile
    if profile is None:
        return found
    support = profile.dtype(dtype) if dtype else None
    if support and not (support.runs and support.native):
        found.append(f"{dtype}: {support.why}")
    flash = [name for name in profile.support if name.startswith(("flash-attn", "SDPA flash"))]
    for name in flash:
        if not profile.support[name].runs:
            found.append(f"{name}: {profile.support[name].why}")
    return found


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
