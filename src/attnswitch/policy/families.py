"""Which family of kernels can be forbidden or required: FlashAttention alone, so far."""

from __future__ import annotations

from attnswitch.errors import RequestError

WATCHED_FAMILIES = ("flash",)


def check_family(word: str, source: str) -> str:
    """Return the family that `word` names.

    Raises:
        RequestError: it is not one that can be forbidden or required.
    """
    family = word.strip().lower() if isinstance(word, str) else word
    if family not in WATCHED_FAMILIES:
        raise RequestError(f"{source}: only 'flash' can be forbidden or required, not {word!r}")
    return family
