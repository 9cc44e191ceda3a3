"""Read a request: the word a user writes for what they want of attention."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from attnswitch.backends.catalogue import FAMILIES, requestable
from attnswitch.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from attnswitch.policy.rules import Policy

KEYWORDS = ("no-flash", "auto")
POLICY_ENDINGS = (".yaml", ".yml", ".json")

_OFF_WORDS = ("off", "0", "false", "no", "none", "disable", "disabled")
_ON_WORDS = ("on", "1", "true", "yes", "enable", "enabled")
# Names that other tools use for the same things: said instead of guessed.
_OTHER_NAMES = {
    "sdpa": "sdpa is not one kernel: PyTorch picks FlashAttention inside it where it can; write "
    "'flash', 'math', 'efficient', or 'auto' to leave the choice to PyTorch",
    "flash_attention_2": "write 'flash_attn' for the flash-attn package, or 'flash' for PyTorch's",
    "flash_attention_3": "write 'flash_attn' for the flash-attn package, or 'flash' for PyTorch's",
    "xformers": "write 'efficient', PyTorch's own copy of that kernel",
    "mem_efficient": "write 'efficient'",
    "vanilla": "write 'standard'",
    "normal": "write 'standard'",
}


Origin = Literal["code", "command", "environment", "checkpoint"]


@dataclass(frozen=True)
class Request:
    """What the user asked for, and where: `word` as written, `source` such as "ATTNSWITCH".

    A request of kind "policy" names a file that was not read yet; one of kind "rules" holds the
    `policy` that was read. `origin` is the kind of place that `source` names. `override` lets it
    win over settings elsewhere that contradict it.
    """

    word: str
    kind: Literal["backend", "family", "no-flash", "auto", "policy", "rules"]
    source: str = field(default="apply()", compare=False)
    policy: Policy | None = None
    override: bool = False
    origin: Origin = field(default="code", compare=False)

    def __str__(self) -> str:
        return self.word


def known_requests() -> list[str]:
    """Every word that is a request by itself."""
    return [*FAMILIES, *KEYWORDS, *(name for name in requestable() if name not in FAMILIES)]


def parse_request(word: str, source: str = "apply()") -> Request:
    """Turn a word into a Request.

    `flash` names both a family and PyTorch's backend; they are the same request on a machine
    without the flash-attn package, and the family is meant.

    Raises:
        RequestError: it is none of the known words and no policy file; says what to write.
    """
    if not isinstance(word, str):
        raise RequestError(f"{source}: a request is a word, not {word!r}; {_what_to_write()}")
    text = word.strip()
    lowered = text.lower()
    if "/" in text or lowered.endswith(POLICY_ENDINGS):
        return Request(text, "policy", source)
    if lowered in KEYWORDS:
        return Request(lowered, lowered, source)  # type: ignore[arg-type]
    if lowered in FAMILIES:
        return Request(lowered, "family", source)
    if lowered in requestable():
        return Request(lowered, "backend", source)
    raise RequestError(f"{source}: {_complaint(text, lowered)}")


def _complaint(text: str, lowered: str) -> str:
    if not text:
        return f"the request is empty; {_what_to_write()}"
    if lowered in _OFF_WORDS:
        return f"{text!r} is no request; write 'standard' to turn FlashAttention off"
    if lowered in _ON_WORDS:
        return f"{text!r} is no request; write 'flash' to turn FlashAttention on"
    if lowered in _OTHER_NAMES:
        return f"{text!r} is no request: {_OTHER_NAMES[lowered]}"
    hint = did_you_mean(lowered, known_requests())
    return f"unknown request {text!r}{hint}; {_what_to_write()}"


def _what_to_write() -> str:
    words = ", ".join(known_requests())
    return f"write one of {words}, or a policy file (.yaml, .yml, .json)"
