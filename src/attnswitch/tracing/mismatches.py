"""Did what ran meet what was asked for?"""

from __future__ import annotations

from collections.abc import Sequence

from attnswitch.backends.catalogue import family_of
from attnswitch.policy.requests import Request
from attnswitch.types import Receipt


def mismatches(request: Request, receipts: Sequence[Receipt]) -> list[str]:
    """Where what ran is not what was asked for; an empty list means that the run is valid.

    A request for a family is met by any backend of that family; a request by name by that one.
    """
    found = []
    for receipt in receipts:
        if receipt.planned in (None, "auto") or receipt.backend == receipt.planned:
            continue
        if request.kind != "backend" and receipt.family == family_of(receipt.planned):
            continue
        ran = receipt.backend or "nothing that could be observed"
        found.append(f"{receipt.site} ({receipt.phase}): {receipt.planned} planned, {ran} ran")
    return found
