"""Cards by name: memory, bandwidth and peak arithmetic, from their makers' data sheets.

A profile (`profiles`) says what runs on a generation; a card how much of it there is. Compiled from
the documents named, not measured. FLOP/s of half precision are those of the tensor cores without
sparsity, summed in float32; of float32 those without tensor cores, as PyTorch computes it by
default. Where there are variants (PCIe and SXM), the figures are the fastest one's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from attnswitch.errors import InputError, did_you_mean
from attnswitch.hardware.profiles import PROFILES, Profile, profile_of

GIB = 2**30
_SHEETS = {
    "volta": "https://images.nvidia.com/content/technologies/volta/pdf/"
    "volta-v100-datasheet-update-us-1165301-r5.pdf",
    "turing": "https://www.nvidia.com/en-us/data-center/tesla-t4/",
    "ga102": "https://images.nvidia.com/aem-dam/en-zz/Solutions/geforce/ampere/pdf/"
    "NVIDIA-ampere-GA102-GPU-Architecture-Whitepaper-V1.pdf",
    "a10": "https://www.nvidia.com/en-us/data-center/products/a10-gpu/",
    "ada": "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/"
    "nvidia-ada-gpu-architecture.pdf",
    "l4": "https://www.nvidia.com/en-us/data-center/l4/",
    "l40s": "https://www.nvidia.com/en-us/data-center/l40s/",
    "a100": "https://www.nvidia.com/en-us/data-center/a100/",
    "h100": "https://www.nvidia.com/en-us/data-center/h100/",
    "h200": "https://www.nvidia.com/en-us/data-center/h200/",
}


@dataclass(frozen=True)
class Card:
    """One card: memory sizes that it comes with, in bytes; bytes a second; FLOP/s by dtype; bytes
    of its last-level cache; and the data sheet."""

    name: str
    title: str
    profile: Profile
    memory_bytes: tuple[int, ...]
    bandwidth: float
    half_flops: float
    float32_flops: float
    cache_bytes: int
    source: str

    def flops_per_second(self, dtype: str) -> float | None:
        """Peak FLOP/s of products in a dtype; None where it has no hardware there."""
        if dtype == "float32":
            return self.float32_flops
        support = self.profile.dtype(dtype)
        return self.half_flops if support.runs and support.native and dtype != "float64" else None


def _card(
    name: str, title: str, profile: str, gib: tuple[int, ...], gb_per_second: float, half: float,
    single: float, cache_mib: float, sheet: str,
) -> Card:  # fmt: skip
    """`half` and `single` in TFLOP/s."""
    return Card(
        name, title, PROFILES[profile], tuple(size * GIB for size in gib), gb_per_second * 1e9,
        half * 1e12, single * 1e12, int(cache_mib * 2**20), _SHEETS[sheet],
    )  # fmt: skip


CARDS: dict[str, Card] = {
    card.name: card
    for card in (
        _card("v100", "NVIDIA V100", "v100", (16, 32), 900, 125, 15.7, 6, "volta"),
        _card("t4", "NVIDIA T4", "t4", (16,), 320, 65, 8.1, 4, "turing"),
        _card("rtx3080", "NVIDIA GeForce RTX 3080", "rtx30", (10,), 760, 59.5, 29.8, 5, "ga102"),
        _card("rtx3090", "NVIDIA GeForce RTX 3090", "rtx30", (24,), 936, 71, 35.6, 6, "ga102"),
        _card("a6000", "NVIDIA RTX A6000", "rtx30", (48,), 768, 154.8, 38.7, 6, "ga102"),
        _card("a10", "NVIDIA A10", "rtx30", (24,), 600, 125, 31.2, 6, "a10"),
        _card("rtx4090", "NVIDIA GeForce RTX 4090", "rtx40", (24,), 1008, 165.2, 82.6, 72, "ada"),
        _card("l4", "NVIDIA L4", "rtx40", (24,), 300, 121, 30.3, 48, "l4"),
        _card("l40s", "NVIDIA L40S", "rtx40", (48,), 864, 362, 91.6, 96, "l40s"),
        _card("a100", "NVIDIA A100", "a100", (40, 80), 2039, 312, 19.5, 40, "a100"),
        _card("h100", "NVIDIA H100", "h100", (80,), 3350, 989, 67, 50, "h100"),
        _card("h200", "NVIDIA H200", "h100", (141,), 4800, 989, 67, 50, "h200"),
    )
}
_SAME = {"a800": "a100", "h800": "h100"}


def card_of(name: str) -> Card | None:
    """The card that a name means (`V100`, `v100-32gb`, `RTX 3090`), or None where the name is that
    of a kind of machine: a generation, or a CPU.

    A size at the end keeps that variant alone.

    Raises:
        InputError: there is no such card and no such kind, or the card has no such variant.
    """
    plain = re.sub(r"^(nvidia|tesla|geforce)+", "", re.sub(r"[\s_-]", "", name.lower()))
    # The longest name first: "a100" before "a10".
    for word in sorted([*CARDS, *_SAME], key=len, reverse=True):
        sized = re.fullmatch(rf"(?:rtx)?{word}(?:(\d+)(?:gb|gib))?", plain)
        if sized is not None:
            card = CARDS[_SAME.get(word, word)]
            return card if sized.group(1) is None else _variant(card, int(sized.group(1)))
    _require_kind(name, plain)
    return None


def _variant(card: Card, gib: int) -> Card:
    if gib * GIB not in card.memory_bytes:
        sizes = " and ".join(f"{count // GIB} GB" for count in card.memory_bytes)
        raise InputError(f"{card.title} comes with {sizes}, not with {gib} GB")
    return replace(card, memory_bytes=(gib * GIB,))


def _require_kind(name: str, plain: str) -> None:
    """Raise InputError where a name that is no card is no kind of machine either."""
    try:
        profile_of(name)
    except InputError as error:
        hint = did_you_mean(plain, [*CARDS, *PROFILES])
        raise InputError(
            f"no card or machine {name!r}{hint}; there are {', '.join(CARDS)}, and the kinds "
            f"{', '.join(kind for kind in PROFILES if kind not in CARDS)}"
        ) from error
