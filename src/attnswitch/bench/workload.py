"""What is measured: one pass of one phase, as data, and made ready to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from attnswitch.errors import InputError, did_you_mean

Kind = Literal["model", "geometry"]
Part = Literal["whole", "attention"]
PHASES: dict[str, str] = {
    "vision": "the vision tower and the projector, over all pictures",
    "prefill": "the language model over the whole prompt, image tokens included",
    "decode": "one token, with the prompt in the cache",
    "training_step": "forward and backward of the whole model; no optimizer",
}
_OTHER_NAMES = {
    "train": "training_step", "training": "training_step", "backward": "training_step",
    "generate": "decode", "generation": "decode", "encode": "vision",
}  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """One pass of one phase of one subject; equal workloads may be compared.

    `subject` is a model or a geometry by name; `part` says whether the whole model runs or
    attention alone, one layer's, whose time is multiplied by the number of layers. `tokens` is the
    length of the sequence that attends: the prompt with its image tokens, or in the vision phase
    the patches of one view. `views` is how many pictures or frames the tower sees in one item of
    the batch. `size` is what set the lengths, as `geometries.samples.sample` takes it:
    {"tiles": 5, "text_tokens": 64}; empty where they are those of the built-in picture's question.
    """

    subject: str
    kind: Kind
    part: Part
    phase: str
    tokens: int
    batch: int
    dtype: str
    device: str
    views: int = 0
    image_tokens: int = 0
    size: dict[str, Any] = field(default_factory=dict)

    @property
    def is_question(self) -> bool:
        """Whether its inputs are a real picture and prompt, of a model whose tokens are not known
        beforehand."""
        return not self.size

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Workload:
        """The workload that `to_json` gave."""
        return cls(**told)

    def __str__(self) -> str:
        sizes = (f", {self.size[n]} {n}" for n in ("tiles", "frames", "images") if self.size.get(n))
        alone = ", attention alone" if self.part == "attention" else ""
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        return (
            f"{self.subject}{alone}: {self.phase}, {self.tokens:,} tokens{''.join(sizes)}{batch}, "
            f"{self.dtype}"
        )


@dataclass(frozen=True)
class Piece:
    """A part of a pass that is timed by itself; it counts `times` in the whole."""

    call: Callable[[], object]
    times: float = 1.0


@dataclass(frozen=True)
class Ready:
    """A workload that can be run over `model`, which is what is switched: all pieces are a pass."""

    workload: Workload
    model: Any
    pieces: Sequence[Piece]

    def call(self) -> None:
        """Every piece once."""
        for piece in self.pieces:
            piece.call()


def phase_of_word(word: str) -> str:
    """The phase that a word names.

    Raises:
        InputError: no such phase; says which there are.
    """
    text = word.strip().lower().replace("-", "_")
    name = _OTHER_NAMES.get(text, text)
    if name not in PHASES:
        hint = did_you_mean(text, [*PHASES, *_OTHER_NAMES])
        raise InputError(f"unknown phase {word!r}{hint}; write {', '.join(PHASES)}")
    return name
