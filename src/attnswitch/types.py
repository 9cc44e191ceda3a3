"""The plain data that rooms pass to each other. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Family = Literal["standard", "flash", "fused"]
Role = Literal["vision_tower", "projector", "language_model", "other"]
Phase = Literal["vision", "prefill", "decode", "backward"]
Evidence = Literal["guarded", "kernel", "op", "fingerprint", "inferred", "unobserved"]


@dataclass(frozen=True)
class Site:
    """A place in a model that computes attention.

    `reach` says how the switch gets there: `interface` (transformers' table of attention
    functions), `operator` (PyTorch's scaled_dot_product_attention), or `own` (the module does
    its own arithmetic and cannot be redirected). `sdpa`: the model it is part of takes other
    kernels than its own eager code.
    """

    path: str
    role: Role
    reach: Literal["interface", "operator", "own"] = "interface"
    causal: bool = False
    sdpa: bool = True


@dataclass(frozen=True)
class Available:
    """A backend can serve."""

    backend: str


@dataclass(frozen=True)
class Refused:
    """A backend cannot serve: every reason, and what to do about it."""

    backend: str
    reasons: tuple[str, ...]
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.backend}: {'; '.join(self.reasons)}"


Decision = Available | Refused


@dataclass(frozen=True)
class Circumstances:
    """What is known of an attention call before it happens; unknown things are None.

    `dtype` is a name such as "bfloat16"; `capability` is CUDA's, such as (8, 0).
    """

    device: str = "cpu"
    dtype: str | None = None
    capability: tuple[int, int] | None = None
    head_dim: int | None = None
    masked: bool | None = None
    dropout: bool | None = None
    has_eager: bool = False
    has_sdpa: bool = True


@dataclass(frozen=True)
class Choice:
    """Which backend a site (or, with `site=None`, the whole process) is to use, and why.

    `requested` is the user's word, `source` where it was said (`apply()`, `use()`,
    `ATTNSWITCH`, a policy file's line), `rule` why it led to `backend`, and `refused` why each
    faster backend was passed over. `backend` is "auto" where the project's own choice stands, and
    "by call" where the call decides (`RuledChoice`).
    """

    backend: str
    requested: str
    source: str
    rule: str = ""
    site: Site | None = None
    refused: tuple[Refused, ...] = ()

    @property
    def bars_flash(self) -> bool:
        """Whether no FlashAttention kernel may run under this choice.

        Not under the yardstick: it is asked for only to judge others beside it.
        """
        return self.backend not in ("auto", "flash", "flash_attn", "yardstick")

    @property
    def possible(self) -> tuple[Choice, ...]:
        """Every choice that this one can turn out to be."""
        return (self,)


class AttentionCall:
    """One attention call as the rules of a policy see it, before it is carried out.

    query [B, H, T, D] and key [B, G, S, D]; `mask` broadcasts to [B, H, T, S] or is None, `causal`
    holds where the kernel itself is to apply the triangle. `module` computes it, where known.
    """

    __slots__ = ("causal", "key", "mask", "module", "query")

    def __init__(self, query: Any, key: Any, mask: Any, causal: bool, module: Any = None):
        self.query, self.key, self.mask = query, key, mask
        self.causal, self.module = causal, module


@dataclass(frozen=True)
class RuledChoice(Choice):
    """A choice that differs from call to call: `decide` makes it, `outcomes` are all there are."""

    decide: Callable[[AttentionCall], Choice] = field(compare=False, kw_only=True)
    outcomes: tuple[Choice, ...] = field(kw_only=True)

    @property
    def bars_flash(self) -> bool:
        """Whether no FlashAttention kernel may run, whatever the call."""
        return all(outcome.bars_flash for outcome in self.outcomes)

    @property
    def possible(self) -> tuple[Choice, ...]:
        """Every choice that this one can turn out to be."""
        return self.outcomes


@dataclass
class Receipt:
    """What one site asked for, what was planned, what ran, and how we know.

    `executed` lists the operators or kernels that were seen, or None where nothing was. Of `calls`,
    `seen` were looked at one by one, and the others taken for what the last of their form ran.
    """

    site: str | None
    role: str | None
    phase: str
    requested: str | None
    planned: str | None
    backend: str | None
    family: str | None
    executed: list[str] | None
    evidence: Evidence
    calls: int
    process: int
    seen: int = 0
    source: str | None = None
    dtype: str | None = None
    shapes: list[list[list[int]]] = field(default_factory=list)
    mask: str | None = None
    rule: str | None = None
    refused: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the receipt as plain JSON data (contract `attnswitch.trace/1`)."""
        return asdict(self)
