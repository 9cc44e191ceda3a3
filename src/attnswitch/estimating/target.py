"""Where the run is to take place: this machine, a card by name, or a kind of machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from attnswitch.backends.catalogue import decide
from attnswitch.environment import cpu_flags, missing_packages, processor_name
from attnswitch.errors import InputError
from attnswitch.estimating.roofline import Roof, roof_of_card, roof_of_speeds
from attnswitch.estimating.routing import BACKENDS
from attnswitch.hardware.cards import GIB, Card, card_of
from attnswitch.hardware.profiles import PROFILES, Profile, profile_of, profile_of_cpu
from attnswitch.hardware.speeds import measure_speeds
from attnswitch.types import Circumstances, Refused

# Set aside on a GPU for its context, the libraries' workspaces and what the allocator cannot reuse:
# an assumption, to be changed by --reserve.
GPU_RESERVE = GIB
# Where a processor's last cache is not known: few have more for two cores.
CPU_CACHE = 32 * 2**20


@dataclass(frozen=True)
class Target:
    """A machine: `memory_bytes` are the sizes to be asked about, none where that is not known."""

    title: str
    device: str
    capability: tuple[int, int] | None
    here: bool
    card: Card | None = None
    memory_bytes: tuple[int, ...] = ()
    reserve_bytes: int = 0
    missing: frozenset[str] = field(default_factory=frozenset)

    def refusals(self, dtype: str, head_dims: tuple[int, ...]) -> dict[str, list[str]]:
        """{backend: why it cannot run there}, empty lists for those that can."""
        return {
            name: sorted({r for width in head_dims for r in self._reasons(name, dtype, width)})
            for name in BACKENDS
        }

    def _reasons(self, backend: str, dtype: str, head_dim: int) -> tuple[str, ...]:
        call = Circumstances(
            device=self.device, dtype=dtype, capability=self.capability, head_dim=head_dim,
            masked=False, dropout=False, has_eager=True,
        )  # fmt: skip
        decision = decide(backend, call, self.missing)
        return decision.reasons if isinstance(decision, Refused) else ()

    def roof(self, dtype: str) -> Roof | None:
        """Its peaks: a card's data sheet, or this machine timed for a moment; None elsewhere."""
        if self.card is not None:
            return roof_of_card(self.card)
        if not self.here:
            return None
        dtypes = tuple(dict.fromkeys((dtype, "float32")))
        return roof_of_speeds(measure_speeds(dtypes, self.device), CPU_CACHE)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        capability = ".".join(map(str, self.capability)) if self.capability else None
        return {
            "title": self.title, "device": self.device, "capability": capability,
            "here": self.here, "source": self.card.source if self.card else None,
            "memory_bytes": list(self.memory_bytes), "reserve_bytes": self.reserve_bytes,
        }  # fmt: skip


def target(
    on: str | None = None, memory_bytes: int | None = None, reserve_bytes: int | None = None
) -> Target:
    """The machine that a name means; None is this one, or any GPU where only memory is named.

    Raises:
        InputError: no such card or machine; one that attnswitch does not route.
    """
    if on is None and memory_bytes is not None:
        found = _some_gpu()
    elif on is None:
        found = _this_machine()
    else:
        card = card_of(on)
        found = _of_card(card) if card is not None else _of_profile(profile_of(on))
    if found.device not in ("cpu", "cuda"):
        raise InputError(f"no estimate for {found.title}: attnswitch does not route its device")
    reserve = GPU_RESERVE if found.device == "cuda" else 0
    sizes = found.memory_bytes if memory_bytes is None else (memory_bytes,)
    return Target(
        found.title, found.device, found.capability, found.here, found.card, sizes,
        reserve if reserve_bytes is None else reserve_bytes, found.missing,
    )  # fmt: skip


def _some_gpu() -> Target:
    ampere = PROFILES["rtx30"]
    return Target("a GPU that runs FlashAttention", "cuda", ampere.capability, False)


def _of_card(card: Card) -> Target:
    profile = card.profile
    return Target(card.title, profile.device, profile.capability, False, card, card.memory_bytes)


def _of_profile(profile: Profile) -> Target:
    return Target(profile.title, profile.device, profile.capability, False)


def _this_machine() -> Target:
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Target(
            properties.name, "cuda", (properties.major, properties.minor), True, None,
            (properties.total_memory,), missing=missing_packages(),
        )  # fmt: skip
    cpu = profile_of_cpu(cpu_flags())
    return Target(processor_name() or cpu.title, "cpu", None, True, missing=missing_packages())
