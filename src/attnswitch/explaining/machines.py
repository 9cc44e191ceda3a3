"""The machine that a dry run is for: this one, or one of which there is a hardware profile."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from attnswitch.environment import cpu_flags, missing_packages, processor_name, version_of
from attnswitch.hardware.profiles import SOURCES, Profile, profile_of, profile_of_cpu
from attnswitch.types import Circumstances


@dataclass(frozen=True)
class Machine:
    """What a dry run needs to know of a machine. `here` is False for one known by profile."""

    title: str
    device: str
    capability: tuple[int, int] | None
    profile: Profile | None
    here: bool
    missing: frozenset[str] = frozenset()

    def circumstances(self, dtype: str | None) -> Circumstances:
        """A call on this machine, of which nothing but its dtype is known."""
        return Circumstances(device=self.device, dtype=dtype, capability=self.capability)

    def facts(self) -> Mapping[str, Any]:
        """Package versions and environment variables: this process's; elsewhere they are open."""
        versions: Callable[[str], str | None] = version_of
        return {"packages": versions, "environment": os.environ} if self.here else {}

    def to_json(self, dtype: str | None) -> dict[str, Any]:
        """Plain JSON data, with what the profile says of the dtype and of each kernel."""
        shown = ".".join(map(str, self.capability)) if self.capability else None
        record: dict[str, Any] = {
            "title": self.title, "device": self.device, "capability": shown, "dtype": dtype,
            "profile": self.profile.name if self.profile else None, "here": self.here,
            "note": self.profile.note if self.profile else "",
        }  # fmt: skip
        record["support"] = {
            name: {**asdict(support), "source": SOURCES.get(support.source, "")}
            for name, support in (self.profile.support.items() if self.profile else ())
        }
        return record


def machine(name: str | None) -> Machine:
    """This machine (None), or the one that a profile's name means.

    Raises:
        InputError: there is no such profile.
    """
    if name is not None:
        profile = profile_of(name)
        return Machine(profile.title, profile.device, profile.capability, profile, here=False)
    import torch

    if torch.cuda.is_available():
        title = torch.cuda.get_device_name(0)
        capability = torch.cuda.get_device_capability(0)
        return Machine(title, "cuda", capability, None, True, missing_packages())
    cpu = profile_of_cpu(cpu_flags())
    return Machine(processor_name(), "cpu", None, cpu, True, missing_packages())
