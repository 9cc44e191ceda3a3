"""A part of a model that runs as compiled code: which sites are in it, and what it is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from attnswitch.tracing.forms import first_tensor, phase_of
from attnswitch.types import Site

_INPUTS = ("input_ids", "inputs_embeds", "hidden_states", "pixel_values")


@dataclass(frozen=True)
class Region:
    """Compiled code that holds attention sites.

    With one site inside, what runs is that site's. With several the site is unknown (its path is
    empty), and the role is theirs where they share one.
    """

    site: Site
    module: Any = None

    @classmethod
    def of(cls, module: Any, sites: Iterable[tuple[Site, Any]]) -> Region | None:
        """The region that `module` is once compiled, or None where it holds no site."""
        inside = {id(part) for part in module.modules()}
        held = [(site, part) for site, part in sites if id(part) in inside]
        if not held:
            return None
        if len(held) == 1:
            return cls(*held[0])
        roles = {site.role for site, _ in held}
        return cls(Site("", roles.pop() if len(roles) == 1 else "other"))


def regions_phase(region: Region, args: Any, kwargs: dict[str, Any]) -> str:
    """The phase of a call of compiled code, by its input: token numbers or hidden states."""
    given = next((kwargs[k] for k in _INPUTS if kwargs.get(k) is not None), None)
    tensor = given if given is not None else first_tensor(args, kwargs)
    whole_numbers = tensor is not None and not tensor.is_floating_point() and tensor.ndim == 2
    if whole_numbers and region.site.role not in ("vision_tower", "projector"):
        return "decode" if tensor.shape[-1] == 1 else "prefill"
    return phase_of(region.site, tensor)
