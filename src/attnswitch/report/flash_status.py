"""Is FlashAttention off? The one question that every report answers first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from attnswitch.report.quantities import count_text
from attnswitch.report.vocabulary import PROOF

State = Literal["on", "partly on", "off", "not known"]


@dataclass(frozen=True)
class FlashStatus:
    """Whether FlashAttention ran in one run, at how many of its sites, and how that is known.

    `guarded`: its operators were barred throughout; `every_call`: each single call was looked at.
    """

    state: State
    flash_sites: int
    sites: int
    guarded: bool
    every_call: bool = True

    @property
    def reason(self) -> str:
        """The state's ground in a few words, such as `at 0 of 8 sites`."""
        if not self.sites:
            return "no attention call was recorded"
        where = f"at {self.flash_sites:,} of {count_text(self.sites, 'site')}"
        if self.state == "not known":
            return f"seen {where}, but not every site was observed"
        if self.state == "off" and self.guarded:
            return f"{where}, its operators barred"
        if self.state == "off":
            between = "" if self.every_call else "; between looks its operators were counted: none"
            return f"{where}, each one seen{between}"
        return where


def flash_status(receipts: Iterable[dict[str, Any]]) -> FlashStatus:
    """Judge one run by its receipts; what was only inferred proves no absence."""
    listed = list(receipts)
    flash = {_site(receipt) for receipt in listed if receipt.get("family") == "flash"}
    other = {_site(receipt) for receipt in listed if receipt.get("family") != "flash"}
    # What ran under the guard was no FlashAttention, whatever it was.
    proven = all(
        r.get("evidence") == "guarded" or (r.get("family") and r.get("evidence") in PROOF)
        for r in listed
    )
    guarded = bool(listed) and all(r.get("evidence") == "guarded" for r in listed)
    every_call = all(r.get("seen", r.get("calls")) == r.get("calls") for r in listed)
    state = _state(flash, other, proven)
    return FlashStatus(state, len(flash), len(flash | other), guarded, every_call)


def _state(flash: set[Any], other: set[Any], proven: bool) -> State:
    if flash:
        return "partly on" if other else "on"
    return "off" if other and proven else "not known"


def _site(receipt: dict[str, Any]) -> tuple[Any, Any]:
    return receipt.get("role"), receipt.get("site")
