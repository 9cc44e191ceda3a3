"""Which backend a request means at each site of a model: planned, or seen where it is "auto"."""

from __future__ import annotations

from typing import Any

from attnswitch.switch import RequestLike, apply
from attnswitch.tracing.observer import trace
from attnswitch.verification.passes import Pass


def backends_of(model: Any, request: RequestLike, one: Pass) -> dict[str, str]:
    """{site path: backend} under `request`; a pass is watched where the project chooses.

    Raises:
        UnavailableError: the request cannot be met at some site.
    """
    with apply(model, request) as plan:
        found = plan.backends()
    open_sites = {path for path, backend in found.items() if backend == "auto"}
    if not open_sites:
        return found
    with trace(model) as watched:
        one.run(model)
    for receipt in watched.receipts:
        if receipt.site in open_sites and receipt.backend:
            found[receipt.site] = receipt.backend
    return {path: backend for path, backend in found.items() if backend != "auto"}
