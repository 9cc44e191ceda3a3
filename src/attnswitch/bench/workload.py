"""What is measured: one pass of one phase, as data, and made ready to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from attnswitch.errors import InputError, did_you_mean

Phase = Literal["vision", "prefill", "decode", "training"]
PHASES: dict[str, str] = {
    "vision": "the vision tower and the projector, over all pictures",
    "prefill": "the language model over the whole prompt, image tokens included",
    "decode": "one token, with the prompt in the cache",
    "training": "forward and backward of the whole model; no optimizer",
}
_OTHER_NAMES = {"train": "training", "backward": "training", "training-step": "training",
                "generate": "decode", "generation": "decode", "encode": "vision"}  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """One pass of one phase of one subject; equal workloads may be compared.

    `subject` is a model or a geometry by name; `part` says whether the whole model runs or
    attention alone, one layer's, whose time is multiplied by `layers`. `tokens` is the length of
    the sequence that attends: the prompt with its image tokens, or in the vision phase the patches
    of one view. `size` holds what set that length, such as {"tiles": 5} or {"frames": 32}, and
    `views` is how many pictures the tower sees in one item of the batch.
    """

    subject: str
    kind: Literal["model", "geometry"]
    part: Literal["whole", "attention"]
    phase: Phase
    tokens: int
    batch: int
    dtype: str
    device: str
    layers: int | None = None
    views: int | None = None
    image_tokens: int | None = None
    size: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; what does not apply is left out."""
        return {name: value for name, value in asdict(self).items() if value not in (None, {})}

    def __str__(self) -> str:
        size = "".join(f", {count} {name}" for name, count in self.size.items())
        alone = ", attention alone" if self.part == "attention" else ""
        batch = f" ×{self.batch}" if self.batch > 1 else ""
        return (
            f"{self.subject}{alone}: {self.phase}, {self.tokens:,} tokens{batch}{size}, "
            f"{self.dtype}"
        )


@dataclass
class Ready:
    """A workload that can be run: `call` is one pass over `model`, which is what is switched.

    The seconds of a call times `scale` are those of the workload.
    """

    workload: Workload
    model: Any
    call: Callable[[], object]
    scale: float = 1.0


def phase_of_word(word: str) -> Phase:
    """The phase that a word names.

    Raises:
        InputError: no such phase; says which there are.
    """
    text = word.strip().lower().replace("_", "-")
    name = _OTHER_NAMES.get(text, text.removesuffix("-step"))
    if name not in PHASES:
        hint = did_you_mean(text, [*PHASES, *_OTHER_NAMES])
        raise InputError(f"unknown phase {word!r}{hint}; write {', '.join(PHASES)}")
    return name  # type: ignore[return-value]
